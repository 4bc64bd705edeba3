//! What a write costs at the ZooKeeper server, fsync included: one after the other, and many at once that
//! share a flush. `cargo bench --bench keeper`.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use kafka::config::{KeeperConfig, Properties};
use kafka::keeper::Keeper;
use kafka::util::clock::Clock;
use kafka::zookeeper::{Session, SessionSettings};

fn main() {
    divan::main();
}

/// A server on a free port and a session at it.
struct Served {
    runtime: Runtime,
    _keeper: Keeper,
    session: Session,
    _dir: tempfile::TempDir,
}

fn serve() -> Served {
    let runtime = Runtime::new().expect("threads can be had");
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let mut properties = Properties::default();
    properties.set("dataDir", &dir.path().display().to_string(), "bench");
    properties.set("clientPort", "0", "bench");
    let (keeper, session) = runtime.block_on(async {
        let (config, _) = KeeperConfig::from_properties(&properties).expect("right settings");
        let keeper = Keeper::start(config, Clock::system()).expect("a free port");
        let patience = Duration::from_secs(30);
        let settings = SessionSettings {
            session_timeout: patience,
            connection_timeout: patience,
        };
        let address = format!("127.0.0.1:{}", keeper.port());
        let session = Session::connect(&address, settings, Clock::system())
            .await
            .expect("the server answers");
        session.ensure_path("/bench").await.expect("the server writes");
        (keeper, session)
    });
    Served {
        runtime,
        _keeper: keeper,
        session,
        _dir: dir,
    }
}

#[divan::bench(args = [1, 16, 256])]
fn writes_at_once(bencher: Bencher, at_once: usize) {
    let served = serve();
    bencher.counter(ItemsCount::new(at_once)).bench_local(|| {
        served.runtime.block_on(async {
            let mut writes = JoinSet::new();
            for _ in 0..at_once {
                let session = served.session.clone();
                writes.spawn(async move { session.set("/bench", b"state", -1).await });
            }
            while let Some(done) = writes.join_next().await {
                done.expect("a write does not panic").expect("the server writes");
            }
        });
    });
}

#[divan::bench]
fn read(bencher: Bencher) {
    let served = serve();
    bencher.bench_local(|| served.runtime.block_on(served.session.get("/bench")));
}
