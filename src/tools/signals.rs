//! How a server is told to end: signals on Unix, console events on Windows.
//!
//! | what comes | what a server does |
//! |---|---|
//! | SIGTERM | ends in order, exit code 143 as a JVM |
//! | SIGINT; Windows: Ctrl-C, Ctrl-Break | ends in order, exit code 130 |
//! | Windows: closing the window, logoff, shutdown | ends in order within the 5 s that the system gives, exit code 143 |
//! | SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 | nothing |
//! | any of the first two again | nothing more: it is ending already |

use std::io;
use std::sync::LazyLock;

use tokio::sync::watch;

/// What asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Someone at the keyboard.
    Interrupted,
    /// Another process, or the system.
    Terminated,
    /// The system, which will not wait: what must not be lost comes first.
    Closing,
}

impl Ending {
    /// What a JVM's process exits with after it.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Interrupted => 130,
            Ending::Terminated | Ending::Closing => 143,
        }
    }
}

/// What this process was asked from within.
static ASKED: LazyLock<watch::Sender<Option<Ending>>> = LazyLock::new(|| watch::Sender::new(None));

/// Asks this process to end, as a signal would: for a Windows service, which gets none.
pub fn ask(ending: Ending) {
    ASKED.send_replace(Some(ending));
}

async fn asked() -> Ending {
    let mut asked = ASKED.subscribe();
    match asked.wait_for(Option::is_some).await.map(|ending| *ending) {
        Ok(Some(ending)) => ending,
        // The sender lives as long as the process.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// The process's signals, taken over from the system when this is made and never given back.
#[cfg(unix)]
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    _harmless: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// From now on no signal of the table ends the process by itself. Called within a runtime.
    pub fn install() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let harmless = [
            SignalKind::hangup(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _harmless: harmless.into_iter().map(signal).collect::<io::Result<_>>()?,
        })
    }

    /// The next that asks for the end.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupted,
            _ = self.terminate.recv() => Ending::Terminated,
            ending = asked() => ending,
        }
    }
}

/// The process's console events, taken over from the system when this is made and never given back.
#[cfg(windows)]
#[derive(Debug)]
pub struct Signals {
    c: tokio::signal::windows::CtrlC,
    pause: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    logoff: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    /// From now on no event of the table ends the process by itself. Called within a runtime.
    pub fn install() -> io::Result<Signals> {
        use tokio::signal::windows;
        Ok(Signals {
            c: windows::ctrl_c()?,
            pause: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// The next that asks for the end.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.c.recv() => Ending::Interrupted,
            _ = self.pause.recv() => Ending::Interrupted,
            _ = self.close.recv() => Ending::Closing,
            _ = self.logoff.recv() => Ending::Closing,
            _ = self.shutdown.recv() => Ending::Closing,
            ending = asked() => ending,
        }
    }
}
