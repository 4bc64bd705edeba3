//! How a stop program finds the servers on this machine and asks them to end.
//!
//! Where there is `/proc`, a server leaves no trace for this: the stop program looks for processes of
//! this binary that run the class, and sends them a signal. Elsewhere (Windows) a running server holds
//! a locked file in the temporary folder, named by class and process; a request is a second file beside
//! it, which the server watches for.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::signals::Ending;
use crate::util::clock::Clock;
use crate::util::fs::{self, FileLock};

/// How often a server looks for a request.
const LOOK: Duration = Duration::from_millis(200);

/// Asks every running server of a class, such as `kafka.Kafka`, to end; returns how many were asked.
///
/// `how` is the signal that is sent; where there are no signals, both mean the same.
pub fn ask_all(class: &str, how: Ending) -> io::Result<usize> {
    #[cfg(unix)]
    if Path::new("/proc/self/cmdline").exists() {
        return processes::signal_all(class, how);
    }
    let _ = how;
    requests::ask_all(&std::env::temp_dir(), class)
}

/// The server's side. Made at its start, kept to its end.
#[derive(Debug)]
pub struct StopRequests {
    /// `None` where signals do it.
    held: Option<Held>,
    clock: Clock,
}

#[derive(Debug)]
struct Held {
    _lock: FileLock,
    path: PathBuf,
}

impl StopRequests {
    /// From now on [`ask_all`] finds this process.
    ///
    /// # Errors
    /// If the temporary folder cannot be written.
    pub fn listen(class: &str, clock: Clock) -> Result<StopRequests, fs::Error> {
        let held = if cfg!(unix) {
            None
        } else {
            Some(requests::hold(&std::env::temp_dir(), class, std::process::id())?)
        };
        Ok(StopRequests { held, clock })
    }

    /// Returns when a stop program has asked; never where it sends signals.
    pub async fn asked(&self) {
        let Some(held) = &self.held else {
            return std::future::pending().await;
        };
        while !requests::request_of(&held.path).exists() {
            self.clock.sleep(LOOK).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What stays is found unlocked and removed by the next stop program.
        let _ = fs::remove_file(&requests::request_of(&self.path));
        let _ = fs::remove_file(&self.path);
    }
}

/// By the process table.
#[cfg(unix)]
mod processes {
    use std::io;
    use std::path::Path;

    use rustix::process::{Pid, Signal, kill_process};

    use super::Ending;

    pub(super) fn signal_all(class: &str, how: Ending) -> io::Result<usize> {
        let signal = match how {
            Ending::Interrupted => Signal::INT,
            Ending::Terminated | Ending::Closing => Signal::TERM,
        };
        let name = super::super::find(class).map_or(class, |tool| tool.name);
        let mut asked = 0;
        for entry in std::fs::read_dir("/proc")? {
            let Ok(entry) = entry else { continue };
            let Some(id) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
                continue;
            };
            if id.unsigned_abs() == std::process::id() || !runs(&entry.path(), &[class, name]) {
                continue;
            }
            let Some(pid) = Pid::from_raw(id) else { continue };
            // One that ended meanwhile, or another user's, is not ours to stop.
            if kill_process(pid, signal).is_ok() {
                asked += 1;
            }
        }
        Ok(asked)
    }

    /// Whether the process is this program and runs one of these.
    fn runs(process: &Path, names: &[&str]) -> bool {
        let Ok(executable) = std::fs::read_link(process.join("exe")) else {
            return false;
        };
        let file_name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let (Some(theirs), Some(ours)) = (
            file_name(&executable),
            std::env::current_exe().ok().as_deref().and_then(file_name),
        ) else {
            return false;
        };
        // A binary that was built anew while it ran is shown so.
        if theirs.trim_end_matches(" (deleted)") != ours.trim_end_matches(" (deleted)") {
            return false;
        }
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let started_as = words.next().unwrap_or_default().into_owned();
        let started_as = file_name(Path::new(&started_as)).unwrap_or_default();
        // The class is the first word that is no option of a JVM.
        let first = words.find(|word| !word.starts_with('-')).unwrap_or_default();
        names.iter().any(|name| *name == started_as || *name == first)
    }
}

/// By files.
mod requests {
    use super::*;

    fn prefix(class: &str) -> String {
        format!("kafka-running-{class}-")
    }

    pub(super) fn request_of(running: &Path) -> PathBuf {
        running.with_extension("stop")
    }

    pub(super) fn hold(dir: &Path, class: &str, process: u32) -> Result<Held, fs::Error> {
        let path = dir.join(format!("{}{process}.lock", prefix(class)));
        // A process of the same number that was killed may have left one.
        fs::remove_file(&request_of(&path))?;
        match fs::lock(&path)? {
            Some(lock) => Ok(Held { _lock: lock, path }),
            None => Err(fs::Error {
                op: "lock",
                path,
                source: io::ErrorKind::AlreadyExists.into(),
            }),
        }
    }

    pub(super) fn ask_all(dir: &Path, class: &str) -> io::Result<usize> {
        let prefix = prefix(class);
        let mut asked = 0;
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if !name.starts_with(&prefix) || !name.ends_with(".lock") {
                continue;
            }
            match fs::lock(&path) {
                // Nobody holds it: its server was killed.
                Ok(Some(lock)) => {
                    drop(lock);
                    let _ = fs::remove_file(&path);
                }
                // Held, or another user's; then the request cannot be written either.
                Ok(None) | Err(_) => {
                    std::fs::write(request_of(&path), "")?;
                    asked += 1;
                }
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_the_servers_of_its_class_alone() {
        let dir = tempfile::tempdir().unwrap();
        let server = |class: &str, process| StopRequests {
            held: Some(requests::hold(dir.path(), class, process).unwrap()),
            clock: Clock::system(),
        };
        let (a, b) = (server("a.Server", 1), server("b.Server", 2));
        std::fs::write(dir.path().join("kafka-running-a.Server-7.lock"), "").unwrap();
        assert_eq!(requests::ask_all(dir.path(), "a.Server").unwrap(), 1);
        a.asked().await;
        assert!(!requests::request_of(&b.held.as_ref().unwrap().path).exists());
        drop((a, b));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(requests::ask_all(dir.path(), "a.Server").unwrap(), 0);
    }

    #[test]
    fn nobody_is_asked_when_none_runs() {
        assert_eq!(ask_all("no.such.Server", Ending::Interrupted).unwrap(), 0);
    }
}
