//! Real processes: started, watched line by line, stopped or killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{holds_within, wait_until};

/// A process whose output is kept. Killed when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    readers: [JoinHandle<()>; 2],
    name: String,
}

/// The binary under test.
pub fn kafka() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kafka"))
}

/// A launcher of the install directory, by its name without `.sh`.
pub fn launcher(name: &str) -> Command {
    Command::new(super::install::launcher(name))
}

/// Runs a command to its end with `input` on its standard input; fails the test after `limit`.
#[track_caller]
pub fn run(mut command: Command, input: &[u8], limit: Duration) -> Output {
    let name = format!("{:?}", command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not read its input may be gone already.
        let _ = stdin.write_all(&input);
    });
    let id = child.id();
    let waiter = std::thread::spawn(move || child.wait_with_output());
    let deadline = std::time::Instant::now() + limit;
    while !waiter.is_finished() {
        if std::time::Instant::now() > deadline {
            signal(id, "KILL");
            let out = waiter
                .join()
                .expect("the waiter lives")
                .expect("the process can be waited for");
            panic!(
                "{name} did not end within {limit:?}:\n{}\n{}",
                text(&out.stdout),
                text(&out.stderr)
            );
        }
        super::pause();
    }
    let _ = writer.join();
    waiter
        .join()
        .expect("the waiter lives")
        .expect("the process can be waited for")
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a signal by name, such as `TERM`.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status();
}

impl Program {
    /// Starts `command`; its output is collected as it comes.
    #[track_caller]
    pub fn start(mut command: Command) -> Program {
        let name = format!(
            "{:?}",
            Path::new(command.get_program())
                .file_name()
                .unwrap_or(OsStr::new("?"))
        );
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let stdin = child.stdin.take();
        let (stdout, out_reader) = collect(child.stdout.take().expect("piped"));
        let (stderr, err_reader) = collect(child.stderr.take().expect("piped"));
        Program {
            child,
            stdin,
            stdout,
            stderr,
            readers: [out_reader, err_reader],
            name,
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines of standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().expect("a reader panicked").clone()
    }

    /// The lines of standard output so far but for the first `skipped`.
    pub fn stdout_from(&self, skipped: usize) -> Vec<String> {
        self.stdout.lock().expect("a reader panicked")[skipped..].to_vec()
    }

    /// All lines of standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().expect("a reader panicked").clone()
    }

    /// Everything printed so far, for messages.
    pub fn printed(&self) -> String {
        format!(
            "{}:\n{}\n--- standard error\n{}",
            self.name,
            self.stdout().join("\n"),
            self.stderr().join("\n")
        )
    }

    /// Waits for a line, on either output, that contains `part`, and returns it.
    #[track_caller]
    pub fn wait_line(&mut self, part: &str, limit: Duration) -> String {
        let deadline = std::time::Instant::now() + limit;
        loop {
            // In this order: what it printed before its end is all there is.
            let ended = self.child.try_wait().expect("the process can be waited for");
            if ended.is_some() {
                self.read_to_the_end();
            }
            let found = self
                .stdout()
                .into_iter()
                .chain(self.stderr())
                .find(|l| l.contains(part));
            if let Some(line) = found {
                return line;
            }
            let late = std::time::Instant::now() > deadline;
            assert!(
                ended.is_none() && !late,
                "no line with {part:?}; ended: {ended:?}; {}",
                self.printed()
            );
            super::pause();
        }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .expect("the program reads its input");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end; all that it printed is read then.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        let mut status = None;
        holds_within(limit, || {
            status = child.try_wait().expect("the process can be waited for");
            status.is_some()
        });
        let Some(status) = status else {
            panic!(
                "waited {limit:?} in vain for the end of {}: {}",
                self.name,
                self.printed()
            );
        };
        self.read_to_the_end();
        status
    }

    /// Waits until its output is read, unless somebody whom it started holds that open.
    fn read_to_the_end(&self) {
        holds_within(Duration::from_secs(30), || {
            self.readers.iter().all(JoinHandle::is_finished)
        });
    }

    /// SIGTERM, and its exit status.
    #[track_caller]
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(limit)
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

fn collect(from: impl std::io::Read + Send + 'static) -> (Lines, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = lines.clone();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = text(&line).trim_end_matches(['\n', '\r']).to_owned();
            into.lock().expect("a reader panicked").push(text);
            line.clear();
        }
    });
    (lines, reader)
}

/// Waits until nothing listens on the port any more.
#[track_caller]
pub fn wait_port_free(port: u16, limit: Duration) {
    wait_until("the port is free", limit, || !super::accepts(port));
}
