//! The shell's commands, with the genuine shell's words on the genuine shell's streams.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

use super::{Current, quota};
use crate::jute::{Acl, CreateMode, ErrorCode, Stat, perms};
use crate::util::clock::WallMs;
use crate::util::date;
use crate::zookeeper::{self, Session, Watch, WatchedEvent};

/// Names and arguments, in the order in which the genuine shell lists them.
pub(super) const COMMANDS: [(&str, &str); 21] = [
    ("stat", "path [watch]"),
    ("set", "path data [version]"),
    ("ls", "path [watch]"),
    ("delquota", "[-n|-b] path"),
    ("ls2", "path [watch]"),
    ("setAcl", "path acl"),
    ("setquota", "-n|-b val path"),
    ("history", ""),
    ("redo", "cmdno"),
    ("printwatches", "on|off"),
    ("delete", "path [version]"),
    ("sync", "path"),
    ("listquota", "path"),
    ("rmr", "path"),
    ("get", "path [watch]"),
    ("create", "[-s] [-e] path data acl"),
    ("addauth", "scheme auth"),
    ("quit", ""),
    ("getAcl", "path"),
    ("close", ""),
    ("connect", "host:port"),
];

/// Why a command did nothing, in the genuine shell's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// What ZooKeeper said about a node.
    #[error("{}", words(.0, .1))]
    Node(zookeeper::Error, String),
    /// A Java exception's name and message.
    #[error("Command failed: {0}")]
    Java(String),
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Ties an error to the node it is about.
pub(super) trait At<T> {
    fn at(self, path: &str) -> Result<T>;
}

impl<T> At<T> for zookeeper::Result<T> {
    fn at(self, path: &str) -> Result<T> {
        self.map_err(|e| Failure::Node(e, path.to_owned()))
    }
}

fn words(error: &zookeeper::Error, path: &str) -> String {
    use zookeeper::Error::*;
    match error {
        NoNode => format!("Node does not exist: {path}"),
        NoChildrenForEphemerals => format!("Ephemerals cannot have children: {path}"),
        NodeExists => format!("Node already exists: {path}"),
        NotEmpty => format!("Node not empty: {path}"),
        NoAuth => format!("Authentication is not valid : {path}"),
        BadVersion => format!("version No is not valid : {path}"),
        Server(ErrorCode::INVALID_ACL) => format!("Acl is not valid : {path}"),
        Server(ErrorCode::BAD_ARGUMENTS) => format!("Arguments are not valid : {path}"),
        Server(ErrorCode::NOT_READ_ONLY) => format!("Not a read-only call: {path}"),
        Path { .. } => format!("Command failed: java.lang.IllegalArgumentException: {error}"),
        other => format!("{other} for {path}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        Failure::Java(format!(
            "java.lang.NumberFormatException: For input string: \"{text}\""
        ))
    })
}

/// The shell's state between commands.
pub(super) struct Shell {
    server: String,
    timeout: Duration,
    current: Current,
    history: Vec<String>,
    print_watches: std::rc::Rc<std::cell::Cell<bool>>,
    done: bool,
}

impl Shell {
    pub(super) fn new(server: String, timeout: Duration, current: Current) -> Shell {
        Shell {
            server,
            timeout,
            current,
            history: Vec::new(),
            print_watches: std::rc::Rc::new(std::cell::Cell::new(true)),
            done: false,
        }
    }

    /// Whether `quit` was given.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn prompt(&self) -> String {
        let state = match self.session() {
            Some(session) if session.state().borrow().connected => "CONNECTED",
            Some(_) => "CONNECTING",
            None => "CLOSED",
        };
        format!("[zk: {}({state}) {}] ", self.server, self.history.len())
    }

    fn session(&self) -> Option<Session> {
        self.current.lock().ok().and_then(|current| current.clone())
    }

    fn replace(&self, session: Option<Session>) -> Option<Session> {
        let current = self.current.lock();
        let mut current = current.expect("nobody panics while holding the session");
        std::mem::replace(&mut *current, session)
    }

    /// Connects to a server, in the place of the one before.
    pub(super) async fn connect(&mut self, server: &str) -> zookeeper::Result<()> {
        self.close().await;
        let session = super::connect(server, self.timeout).await?;
        server.clone_into(&mut self.server);
        if self.print_watches.get() {
            print_event("SyncConnected", "None", None);
        }
        tokio::task::spawn(tell_of_connection(session.state()));
        self.replace(Some(session));
        Ok(())
    }

    /// Ends the session, if there is one.
    pub(super) async fn close(&mut self) {
        if let Some(session) = self.replace(None) {
            session.close().await;
        }
    }

    /// Remembers a line and does what it says.
    pub(super) async fn execute_line(&mut self, line: &str) {
        let words: Vec<String> = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(String::from)
            .collect();
        if words.is_empty() {
            return;
        }
        self.history.push(line.to_owned());
        if words[0] == "redo" && words.len() >= 2 {
            self.redo(&words[1]).await;
        } else {
            self.execute(&words).await;
        }
    }

    async fn redo(&mut self, which: &str) {
        let line = match number::<usize>(which) {
            Ok(n) if n + 1 < self.history.len() => self.history[n].clone(),
            Ok(_) => return println!("Command index out of range"),
            Err(e) => return eprintln!("{e}"),
        };
        let words: Vec<String> = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(String::from)
            .collect();
        if words.first().is_some_and(|w| w == "redo") {
            return println!("No redoing redos");
        }
        if let Some(last) = self.history.last_mut() {
            *last = line;
        }
        self.execute(&words).await;
    }

    /// Does what the words say; whether it succeeded.
    pub(super) async fn execute(&mut self, words: &[String]) -> bool {
        match self.try_execute(words).await {
            Ok(done) => done,
            Err(e) => {
                eprintln!("{e}");
                false
            }
        }
    }

    async fn try_execute(&mut self, words: &[String]) -> Result<bool> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(name) = words.first().filter(|w| COMMANDS.iter().any(|(c, _)| c == *w)) else {
            usage();
            return Ok(false);
        };
        match (*name, &words[1..]) {
            ("quit", _) => {
                println!("Quitting...");
                self.done = true;
                return Ok(true);
            }
            ("history", _) => {
                for (i, line) in self
                    .history
                    .iter()
                    .enumerate()
                    .skip(self.history.len().saturating_sub(11))
                {
                    println!("{i} - {line}");
                }
                return Ok(true);
            }
            ("printwatches", []) => {
                println!(
                    "printwatches is {}",
                    if self.print_watches.get() { "on" } else { "off" }
                );
                return Ok(true);
            }
            ("printwatches", [which, ..]) => {
                self.print_watches.set(*which == "on");
                return Ok(true);
            }
            ("connect", to) => {
                let server = to.first().map_or(self.server.clone(), |s| (*s).to_owned());
                return match self.connect(&server).await {
                    Ok(()) => Ok(true),
                    Err(e) => {
                        eprintln!("{e}");
                        Ok(false)
                    }
                };
            }
            _ => {}
        }
        let Some(session) = self.session() else {
            println!("Not connected");
            return Ok(false);
        };
        if *name == "close" {
            self.close().await;
            return Ok(true);
        }
        self.with_session(&session, name, &words[1..]).await
    }

    /// The commands that need a session. With too few words, nothing happens, as in the genuine shell.
    async fn with_session(&self, session: &Session, name: &str, args: &[&str]) -> Result<bool> {
        match (name, args) {
            ("create", args) if args.len() >= 2 => return create(session, args).await,
            ("delete", [path, version @ ..]) => {
                let version = version.first().map_or(Ok(-1), |v| number(v))?;
                session.delete(path, version).await.at(path)?;
            }
            ("rmr", [path, ..]) => {
                if session.exists(path).await.at(path)?.is_none() {
                    return Err(Failure::Node(zookeeper::Error::NoNode, (*path).to_owned()));
                }
                session.delete_recursive(path).await.at(path)?;
            }
            ("set", [path, data, version @ ..]) => {
                let version = version.first().map_or(Ok(-1), |v| number(v))?;
                print_stat(&session.set(path, data.as_bytes(), version).await.at(path)?);
            }
            ("addauth", [scheme, auth @ ..]) => {
                let auth = auth.first().copied().unwrap_or_default();
                session.add_auth(scheme, auth.as_bytes()).await.at("null")?;
            }
            ("sync", [path, ..]) => {
                session.sync(path).await.at(path)?;
                println!("Sync returned 0");
            }
            ("getAcl", [path, ..]) => {
                let (acl, _) = session.get_acl(path).await.at(path)?;
                for entry in acl {
                    println!(
                        "'{},'{}\n: {}",
                        entry.id.scheme,
                        entry.id.id,
                        letters(entry.perms)
                    );
                }
            }
            ("setAcl", [path, acl, version @ ..]) => {
                let version = version.first().map_or(Ok(-1), |v| number(v))?;
                print_stat(&session.set_acl(path, parse_acl(acl)?, version).await.at(path)?);
            }
            ("get", [path, watch @ ..]) => {
                let node = match watch {
                    [] => session.get(path).await.at(path)?,
                    _ => {
                        let (node, watch) = session.get_watched(path).await.at(path)?;
                        self.watch(watch, path, node.is_some());
                        node
                    }
                };
                let node = found(node, path)?;
                println!("{}", text(node.data));
                print_stat(&node.stat);
            }
            ("stat", [path, watch @ ..]) => {
                let stat = match watch {
                    [] => session.exists(path).await.at(path)?,
                    _ => {
                        let (stat, watch) = session.exists_watched(path).await.at(path)?;
                        self.watch(watch, path, true);
                        stat
                    }
                };
                print_stat(&found(stat, path)?);
            }
            ("ls" | "ls2", [path, watch @ ..]) => {
                if !watch.is_empty() {
                    let (names, watch) = session.children_watched(path).await.at(path)?;
                    self.watch(watch, path, names.is_some());
                }
                let (names, stat) = found(session.children(path).await.at(path)?, path)?;
                println!("[{}]", names.join(", "));
                if name == "ls2" {
                    print_stat(&stat);
                }
            }
            ("setquota", [which, value, path, ..]) => {
                eprintln!("Comment: the parts are option {which} val {value} path {path}");
                match *which {
                    "-b" => quota::create(session, path, Some(number(value)?), None).await?,
                    "-n" => quota::create(session, path, None, Some(number(value)?)).await?,
                    _ => usage(),
                }
            }
            ("listquota", [path, ..]) => return quota::list(session, path).await,
            ("delquota", ["-b", path]) => quota::delete(session, path, true, false).await?,
            ("delquota", ["-n", path]) => quota::delete(session, path, false, true).await?,
            ("delquota", [path]) => quota::delete(session, path, true, true).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Prints what the watch tells once it fires; forgets a watch that the genuine shell has not.
    fn watch(&self, watch: Watch, path: &str, wanted: bool) {
        if !wanted {
            return;
        }
        let path = path.to_owned();
        let session = self.session();
        tokio::task::spawn(async move {
            let event = match watch.fired().await {
                WatchedEvent::Created => "NodeCreated",
                WatchedEvent::Deleted => "NodeDeleted",
                WatchedEvent::DataChanged => "NodeDataChanged",
                WatchedEvent::ChildrenChanged => "NodeChildrenChanged",
                // The state of the session is told on its own.
                WatchedEvent::SessionLost => return,
            };
            drop(session);
            print_event("SyncConnected", event, Some(&path));
        });
    }
}

async fn create(session: &Session, args: &[&str]) -> Result<bool> {
    let (mode, rest) = match args {
        ["-e", "-s", rest @ ..] | ["-s", "-e", rest @ ..] => (CreateMode::EphemeralSequential, rest),
        ["-e", rest @ ..] => (CreateMode::Ephemeral, rest),
        ["-s", rest @ ..] => (CreateMode::PersistentSequential, rest),
        rest => (CreateMode::Persistent, rest),
    };
    let [path, data, acl @ ..] = rest else {
        return Ok(false);
    };
    let acl = match acl {
        [acl] => parse_acl(acl)?,
        _ => Acl::open(),
    };
    let data = Some(data.as_bytes());
    let made = session.create_with_acl(path, data, mode, acl).await.at(path)?;
    eprintln!("Created {made}");
    Ok(true)
}

fn found<T>(node: Option<T>, path: &str) -> Result<T> {
    node.ok_or_else(|| Failure::Node(zookeeper::Error::NoNode, path.to_owned()))
}

pub(super) fn text(data: Option<Bytes>) -> String {
    data.map_or("null".to_owned(), |data| {
        String::from_utf8_lossy(&data).into_owned()
    })
}

/// Reads `scheme:id:perms`, several with commas. None that can be read is an error, as in the client.
fn parse_acl(typed: &str) -> Result<Vec<Acl>> {
    let mut acl = Vec::new();
    for entry in typed.split(',') {
        let parts = entry.split_once(':').and_then(|(scheme, rest)| {
            let (id, letters) = rest.rsplit_once(':')?;
            Some((scheme, id, letters))
        });
        let Some((scheme, id, letters)) = parts else {
            eprintln!("{entry} does not have the form scheme:id:perm");
            continue;
        };
        let mut bits = 0;
        for letter in letters.chars() {
            match LETTERS.iter().find(|(l, _)| *l == letter) {
                Some((_, bit)) => bits |= bit,
                None => eprintln!("Unknown perm type: {letter}"),
            }
        }
        acl.push(Acl::new(bits, scheme, id));
    }
    if acl.is_empty() {
        let error = zookeeper::Error::Server(ErrorCode::INVALID_ACL);
        return Err(Failure::Node(error, "null".to_owned()));
    }
    Ok(acl)
}

const LETTERS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

fn letters(bits: i32) -> String {
    let set = LETTERS.iter().filter(|(_, bit)| bits & bit != 0);
    set.map(|(letter, _)| *letter).collect()
}

fn usage() {
    let mut text = String::from("ZooKeeper -server host:port cmd args\n");
    for (name, args) in COMMANDS {
        let _ = writeln!(text, "\t{name} {args}");
    }
    eprint!("{text}");
}

fn print_event(state: &str, kind: &str, path: Option<&str>) {
    let path = path.unwrap_or("null");
    println!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path}");
}

/// Tells each time the connection is lost, found again, or found to be of a new session.
async fn tell_of_connection(mut states: tokio::sync::watch::Receiver<zookeeper::SessionState>) {
    let mut before = *states.borrow_and_update();
    while states.changed().await.is_ok() {
        let now = *states.borrow_and_update();
        if now.closed {
            return;
        }
        if now.generation != before.generation {
            print_event("Expired", "None", None);
        }
        if now.connected && (!before.connected || now.generation != before.generation) {
            print_event("SyncConnected", "None", None);
        } else if before.connected && !now.connected {
            print_event("Disconnected", "None", None);
        }
        before = now;
    }
}

fn print_stat(stat: &Stat) {
    eprintln!("cZxid = 0x{:x}", stat.czxid);
    eprintln!("ctime = {}", date::long(WallMs(stat.ctime)));
    eprintln!("mZxid = 0x{:x}", stat.mzxid);
    eprintln!("mtime = {}", date::long(WallMs(stat.mtime)));
    eprintln!("pZxid = 0x{:x}", stat.pzxid);
    eprintln!("cversion = {}", stat.cversion);
    eprintln!("dataVersion = {}", stat.version);
    eprintln!("aclVersion = {}", stat.aversion);
    eprintln!("ephemeralOwner = 0x{:x}", stat.ephemeral_owner);
    eprintln!("dataLength = {}", stat.data_length);
    eprintln!("numChildren = {}", stat.num_children);
}
