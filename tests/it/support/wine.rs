//! The Windows package, unpacked, its .bat files run under Wine.
//!
//! `windows/package` builds it, and `WINDOWS_PACKAGE` names it; without that the tests that need it cannot
//! run. They run one after the other, those of other runs on this machine included: a stop script stops every
//! server in the Wine prefix, and Wine is slow with many connections.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::program::{Program, run, text};

/// How long anything may take there.
pub const LIMIT: Duration = Duration::from_secs(180);

/// An unpacked package. What still runs of it is killed when dropped.
pub struct Package {
    folder: tempfile::TempDir,
    env: PathBuf,
    /// Wine ends services, and then itself, soon after the last other program; what is started just then fails.
    session: Option<Program>,
    _alone: MutexGuard<'static, ()>,
    /// Other test runs with this prefix wait for it.
    _lock: std::fs::File,
}

/// Where Wine finds a path of ours.
pub fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

impl Package {
    /// Unpacks it in a folder whose name has all that launchers stumble over.
    pub fn unpack() -> Result<Package, String> {
        static ALONE: Mutex<()> = Mutex::new(());
        // A test that failed took its processes with it.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let zip = std::env::var_os("WINDOWS_PACKAGE")
            .ok_or("WINDOWS_PACKAGE names no package; windows/package builds one")?;
        let home = ["WINDOWS_HOME", "XDG_CACHE_HOME", "HOME"];
        let found = home.iter().find_map(|name| Some((name, std::env::var_os(name)?)));
        let env = match found {
            Some((&"WINDOWS_HOME", folder)) => PathBuf::from(folder).join("env"),
            Some((&"XDG_CACHE_HOME", folder)) => PathBuf::from(folder).join("kafka-windows/env"),
            Some((_, folder)) => PathBuf::from(folder).join(".cache/kafka-windows/env"),
            None => return Err("no HOME".to_owned()),
        };
        if !env.is_file() {
            return Err(format!("{} is not there; windows/setup makes it", env.display()));
        }
        let lock = std::fs::File::create(env.with_file_name("tests.lock")).map_err(|e| e.to_string())?;
        lock.lock().map_err(|e| e.to_string())?;
        let mut package = Package {
            session: None,
            _lock: lock,
            folder: tempfile::tempdir().map_err(|e| e.to_string())?,
            env,
            _alone: alone,
        };
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(&zip).arg(package.above());
        std::fs::create_dir(package.above()).map_err(|e| e.to_string())?;
        let out = run(unzip, b"", LIMIT);
        assert!(out.status.success(), "{zip:?}: {}", text(&out.stderr));
        let mut session = Program::start(package.typed(&package.bin(), &[]));
        session.wait_line("Microsoft Windows", LIMIT);
        package.session = Some(session);
        Ok(package)
    }

    fn above(&self) -> PathBuf {
        self.folder.path().join("Größe (x86) & co!")
    }

    /// A folder without such names, for paths on a command line of Wine's cmd.
    pub fn plain(&self) -> &Path {
        self.folder.path()
    }

    /// The unpacked folder.
    pub fn home(&self) -> PathBuf {
        self.above().join("kafka-windows-x86_64")
    }

    /// Where the .bat files are.
    pub fn bin(&self) -> PathBuf {
        self.home().join("bin").join("windows")
    }

    /// A setting in a file of `config`, as a person edits it.
    pub fn set(&self, file: &str, key: &str, value: &str) {
        let path = self.home().join("config").join(file);
        let text = std::fs::read_to_string(&path).expect("the package has its settings");
        let (mut lines, mut found) = (Vec::new(), false);
        for line in text.lines() {
            if line.split('=').next() == Some(key) {
                found = true;
                lines.push(format!("{key}={value}"));
            } else {
                lines.push(line.to_owned());
            }
        }
        if !found {
            lines.push(format!("{key}={value}"));
        }
        std::fs::write(&path, lines.join("\r\n") + "\r\n").expect("settings can be edited");
    }

    /// `words` typed to cmd in `dir`; without any it waits for lines.
    pub fn typed(&self, dir: &Path, words: &[&str]) -> Command {
        let mut command = self.wine(dir);
        command.arg("cmd");
        if !words.is_empty() {
            command.arg("/c").args(words);
        }
        command
    }

    /// A .bat by its name without suffix, typed where it is.
    pub fn bat(&self, name: &str, words: &[&str]) -> Command {
        let file = format!("{name}.bat");
        let all: Vec<&str> = std::iter::once(file.as_str())
            .chain(words.iter().copied())
            .collect();
        self.typed(&self.bin(), &all)
    }

    /// Wine in `dir`, in a process group of its own, without what it should be started with.
    pub fn wine(&self, dir: &Path) -> Command {
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(". \"$0\"; exec wine \"$@\"")
            .arg(&self.env)
            .current_dir(dir)
            .process_group(0);
        command
    }

    /// Runs a .bat to its end.
    #[track_caller]
    pub fn run(&self, name: &str, words: &[&str], input: &[u8]) -> Output {
        run(self.bat(name, words), input, LIMIT)
    }

    /// A .bat at a terminal, as `script` makes one; there Ctrl-Z is a key like others.
    pub fn at_terminal(&self, name: &str, words: &[&str]) -> Command {
        let line = format!("stty -isig; wine cmd /c {name}.bat {}", words.join(" "));
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(". \"$0\"; exec script -qefc \"$1\" /dev/null")
            .arg(&self.env)
            .arg(line)
            .env("TERM", "xterm")
            .current_dir(self.bin())
            .process_group(0);
        command
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        let ours = self.folder.path().display().to_string();
        let ours = [ours.clone(), windows_path(Path::new(&ours))];
        for id in processes(|line, _| ours.iter().any(|path| line.contains(path))) {
            super::program::signal(id, "KILL");
        }
    }
}

/// The processes of this machine whose command line and process group are as wanted.
fn processes(wanted: impl Fn(&str, u32) -> bool) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = all.filter_map(|process| {
        let id = process.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        // After the name, which is in parentheses: state, parent, group.
        let group = stat.rsplit(')').next()?.split_whitespace().nth(2)?.parse().ok()?;
        wanted(&String::from_utf8_lossy(&line), group).then_some(id)
    });
    found.collect()
}

/// A server in its window.
pub struct Window {
    /// cmd; the program is in its process group.
    pub program: Program,
}

impl Window {
    /// Types the start of a server.
    #[track_caller]
    pub fn open(command: Command) -> Window {
        let mut program = Program::start(command);
        program.close_stdin();
        Window { program }
    }

    fn signal(&self, name: &str) {
        let group = format!("-{}", self.program.id());
        let mut kill = Command::new("kill");
        // It may have ended already.
        let _ = kill
            .args(["-s", name, "--", &group])
            .stderr(Stdio::null())
            .status();
    }

    /// The process of a program that was started in this window.
    #[track_caller]
    pub fn process(&self, program: &str) -> u32 {
        super::wait_for(program, LIMIT, || {
            processes(|line, group| group == self.program.id() && line.contains(program)).pop()
        })
    }

    /// Ctrl-C; returns when the window's program has ended.
    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        self.signal("INT");
        self.program.wait(LIMIT)
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.program.kill();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.kill();
    }
}
