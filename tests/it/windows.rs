//! The Windows package under Wine: started as its tutorial says, by its .bat files, in a folder whose name
//! has blanks, parentheses and other letters; used by genuine clients; killed, restarted, made to delete.
//!
//! What Wine cannot show is in docs/windows.md.

mod files;
mod launching;
mod load;
mod service;
mod soak;
mod tutorial;

use std::path::PathBuf;
use std::time::Duration;

use kafka::protocol::fetch::{FetchPartition, FetchRequest, FetchTopic};

use crate::support::wine::{LIMIT, Package, Window};
use crate::support::{free_port, wait_until};

/// The two windows of the tutorial. The broker's is closed first.
struct Servers {
    broker: Window,
    zookeeper: Window,
}

/// A package whose settings name free ports.
struct Site {
    package: Package,
    zookeeper_port: u16,
    port: u16,
}

impl Site {
    fn new(package: Package) -> Site {
        let site = Site {
            package,
            zookeeper_port: free_port(),
            port: free_port(),
        };
        let (zookeeper, broker) = ("zookeeper.properties", "server.properties");
        let set = |file, key, value: String| site.package.set(file, key, &value);
        set(zookeeper, "clientPort", site.zookeeper_port.to_string());
        set(broker, "zookeeper.connect", site.connect());
        set(broker, "zookeeper.connection.timeout.ms", "60000".into());
        set(
            broker,
            "listeners",
            format!("PLAINTEXT://127.0.0.1:{}", site.port),
        );
        site
    }

    fn connect(&self) -> String {
        format!("localhost:{}", self.zookeeper_port)
    }

    fn start_zookeeper(&self) -> Window {
        let words = ["..\\..\\config\\zookeeper.properties"];
        let mut zookeeper = Window::open(self.package.bat("zookeeper-server-start", &words));
        zookeeper.program.wait_line("binding to port", LIMIT);
        zookeeper.program.wait_line("serving clients on port", LIMIT);
        zookeeper
    }

    fn start_broker(&self) -> Window {
        let words = ["..\\..\\config\\server.properties"];
        let mut broker = Window::open(self.package.bat("kafka-server-start", &words));
        broker
            .program
            .wait_line("], started (kafka.server.KafkaServer)", LIMIT);
        broker
    }

    fn start(&self) -> Servers {
        let zookeeper = self.start_zookeeper();
        Servers {
            broker: self.start_broker(),
            zookeeper,
        }
    }
}

/// A request for a partition 0 from its beginning.
fn fetch_of(topic: &str, max_bytes: i32) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                partition: 0,
                fetch_offset: 0,
                max_bytes,
            }],
        }],
    }
}

/// What a log directory must not hold once a broker has come to rest.
fn leftovers(log_dir: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![log_dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                todo.push(entry.path());
            } else if [
                ".deleted",
                ".cleaned",
                ".swap",
                ".tmp",
                ".gone-",
                ".kafka_deleting",
            ]
            .iter()
            .any(|rest| name.contains(rest))
            {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Waits until a condition on the log directory holds, saying what is there if it does not.
#[track_caller]
fn wait_clean(log_dir: &std::path::Path, limit: Duration) {
    wait_until(
        &format!("nothing is left behind: {:?}", leftovers(log_dir)),
        limit,
        || leftovers(log_dir).is_empty(),
    );
}
