//! Where the shell's lines come from: a pipe, or a terminal with history and completion.
//!
//! Reading blocks, so it happens on a thread of its own, a line each time one is asked for.

use std::io::{BufRead, IsTerminal};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Current;
use super::commands::COMMANDS;

/// Whether someone sits at the keyboard.
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// The thread that reads.
pub(super) struct Lines {
    prompts: std::sync::mpsc::Sender<String>,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    /// Starts the thread. At a terminal, names of nodes are completed by asking `current`.
    pub(super) fn start(terminal: bool, current: Current) -> Lines {
        let (prompts, asked) = std::sync::mpsc::channel::<String>();
        let (send, lines) = mpsc::channel(1);
        let handle = Handle::current();
        std::thread::spawn(move || match terminal {
            true => edit(&asked, &send, Names { current, handle }),
            false => read(&asked, &send),
        });
        Lines { prompts, lines }
    }

    /// The next line; none at the end of the input. A pipe shows no prompt.
    pub(super) async fn next(&mut self, prompt: String) -> Option<String> {
        self.prompts.send(prompt).ok()?;
        self.lines.recv().await
    }
}

fn read(asked: &std::sync::mpsc::Receiver<String>, send: &mpsc::Sender<String>) {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    while asked.recv().is_ok() {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if send.blocking_send(text.to_owned()).is_err() {
            return;
        }
    }
}

fn edit(asked: &std::sync::mpsc::Receiver<String>, send: &mpsc::Sender<String>, names: Names) {
    let mut editor = match Editor::<Names, DefaultHistory>::new() {
        Ok(editor) => editor,
        Err(_) => return read(asked, send),
    };
    editor.set_helper(Some(names));
    while let Ok(prompt) = asked.recv() {
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            // Ctrl-C drops what was typed so far.
            Err(ReadlineError::Interrupted) => String::new(),
            Err(_) => return,
        };
        if !line.trim().is_empty() {
            // A line that cannot be remembered is still a command.
            let _ = editor.add_history_entry(&line);
        }
        if send.blocking_send(line).is_err() {
            return;
        }
    }
}

/// Completes commands and paths.
struct Names {
    current: Current,
    handle: Handle,
}

impl Names {
    /// The children of `parent` whose names begin with `front`.
    fn children(&self, parent: &str, front: &str) -> Vec<String> {
        let session = self.current.lock().ok().and_then(|current| current.clone());
        let Some(session) = session.filter(|s| s.state().borrow().connected) else {
            return Vec::new();
        };
        let path = match parent {
            "" => "/".to_owned(),
            parent => parent.to_owned(),
        };
        let found = self.handle.block_on(async move { session.children(&path).await });
        let names = found.ok().flatten().map(|(names, _)| names).unwrap_or_default();
        let mut names: Vec<String> = names.into_iter().filter(|n| n.starts_with(front)).collect();
        names.sort_unstable();
        names.into_iter().map(|name| format!("{parent}/{name}")).collect()
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let start = typed.rfind(' ').map_or(0, |space| space + 1);
        let word = &typed[start..];
        let found = match word.rsplit_once('/') {
            Some((parent, front)) => self.children(parent, front),
            None if start == 0 => {
                let commands = COMMANDS.iter().map(|(name, _)| *name);
                let mut found: Vec<_> = commands
                    .filter(|c| c.starts_with(word))
                    .map(String::from)
                    .collect();
                found.sort_unstable();
                found
            }
            None => Vec::new(),
        };
        Ok((start, found))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Validator for Names {}

impl Helper for Names {}
