//! Servers for the tests: ours within this process, the genuine one as a process of its own.

use std::path::Path;
use std::time::Duration;

use kafka::config::KeeperConfig;
use kafka::keeper::{Error, Keeper};
use kafka::util::clock::Clock;

use crate::support::program::Program;
use crate::support::{free_port, genuine, wait_until};

/// Our server on a runtime of its own.
pub struct Ours {
    keeper: Option<Keeper>,
    runtime: tokio::runtime::Runtime,
    pub port: u16,
}

impl Ours {
    /// On `dir`, on a free port.
    #[track_caller]
    pub fn start(dir: &Path) -> Ours {
        Ours::with(KeeperConfig::new(dir)).expect("the server starts")
    }

    /// With settings of the test.
    pub fn with(config: KeeperConfig) -> Result<Ours, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let keeper = {
            let _within = runtime.enter();
            Keeper::start(config, Clock::system())?
        };
        Ok(Ours {
            port: keeper.port(),
            keeper: Some(keeper),
            runtime,
        })
    }

    /// Waits until the server has given up.
    pub fn failure(&self) -> String {
        let keeper = self.keeper.as_ref().expect("not stopped");
        self.runtime.block_on(keeper.failed()).to_string()
    }

    /// Stops in order.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            self.runtime.block_on(keeper.stop());
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.end();
    }
}

/// Settings with quick sessions.
pub fn quick(dir: &Path) -> KeeperConfig {
    KeeperConfig {
        tick: Duration::from_millis(100),
        min_session_timeout: Duration::from_millis(200),
        max_session_timeout: Duration::from_secs(60),
        ..KeeperConfig::new(dir)
    }
}

/// A genuine ZooKeeper 3.4.6 on `data`; `more` are further lines of its properties.
pub struct Genuine {
    program: Program,
    pub port: u16,
}

impl Genuine {
    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn start(dir: &Path, data: &Path, more: &str) -> Genuine {
        Genuine::run("kafka-0.9", dir, data, more)
    }

    /// The same with ZooKeeper 3.4.14.
    #[track_caller]
    pub fn last_of_3_4(dir: &Path, data: &Path, more: &str) -> Genuine {
        Genuine::run("zookeeper-3.4", dir, data, more)
    }

    /// The same with ZooKeeper 3.8.4.
    #[track_caller]
    pub fn newer(dir: &Path, data: &Path, more: &str) -> Genuine {
        let words = "4lw.commands.whitelist=*\nadmin.enableServer=false";
        Genuine::run("zookeeper-3.8", dir, data, &format!("{words}\n{more}"))
    }

    #[track_caller]
    fn run(system: &str, dir: &Path, data: &Path, more: &str) -> Genuine {
        let port = free_port();
        let config = dir.join(format!("genuine-{port}.properties"));
        let text = format!(
            "dataDir={}\nclientPort={port}\nmaxClientCnxns=0\n{more}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("the folder can be written");
        let mut command = genuine::command(&["zookeeper-server-start", &config.display().to_string()]);
        command.env("REFERENCE", system);
        let program = Program::start(command);
        let mut server = Genuine { program, port };
        wait_until("a genuine ZooKeeper serves", genuine::START, || {
            assert!(server.program.is_running(), "{}", server.program.printed());
            genuine::four_letters(port, "srvr").contains("Mode:")
        });
        server
    }

    /// Kills it with -9.
    pub fn kill(mut self) {
        self.program.kill();
    }
}
