//! Clients that others wrote: the Rust crate zookeeper-client, and Python's kazoo with all its recipes.

use std::time::Duration;

use zookeeper_client as zk;

use super::server::{Ours, quick};
use crate::support::program::{run, text};
use crate::support::{python::python, root};

const PEOPLE: zk::Acls<'static> = zk::Acls::anyone_all();

#[test]
fn the_rust_client_works_with_its_newest_operations() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::start(dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cluster = format!("127.0.0.1:{}", ours.port);
        let client = zk::Client::connect(&cluster).await.unwrap();
        let persistent = zk::CreateMode::Persistent.with_acls(PEOPLE);
        let (stat, _) = client.create("/a", b"one", &persistent).await.unwrap();
        assert_eq!((stat.version, stat.data_length), (0, 3));
        let (_, sequence) = client
            .create(
                "/a/s-",
                b"",
                &zk::CreateMode::EphemeralSequential.with_acls(PEOPLE),
            )
            .await
            .unwrap();
        assert_eq!(sequence.into_i64(), 0);
        let container = zk::CreateMode::Container.with_acls(PEOPLE);
        let (stat, _) = client.create("/c", b"", &container).await.unwrap();
        assert_eq!(stat.ephemeral_owner, 0, "as 3.8 shows it");
        assert_eq!(client.list_ephemerals("/a").await.unwrap().len(), 1);
        assert_eq!(client.count_descendants_number("/").await.unwrap(), 5);

        let mut watcher = client
            .watch("/a", zk::AddWatchMode::PersistentRecursive)
            .await
            .unwrap();
        client.set_data("/a", b"two", Some(0)).await.unwrap();
        assert_eq!(watcher.changed().await.event_type, zk::EventType::NodeDataChanged);
        let (_, stat, watch) = client.get_and_watch_data("/a").await.unwrap();
        assert_eq!(stat.version, 1);
        drop(watch);

        let mut multi = client.new_multi_writer();
        multi.add_check_version("/a", 1).unwrap();
        multi.add_create("/a/m", b"", &persistent).unwrap();
        multi.add_delete("/c", None).unwrap();
        assert_eq!(multi.commit().await.unwrap().len(), 3);
        assert_eq!(
            client.set_data("/a", b"", Some(0)).await.unwrap_err(),
            zk::Error::BadVersion
        );
        client.auth("digest", b"u:p").await.unwrap();
        assert!(
            client
                .list_auth_users()
                .await
                .unwrap()
                .iter()
                .any(|u| u.user() == "u")
        );
    });
}

/// Every recipe of kazoo, then lost connections and a lost session.
#[test]
fn kazoo_works_with_every_recipe() {
    let interpreter = need!(python(&["kazoo==2.10.0"]));
    let dir = tempfile::tempdir().unwrap();
    let ours = Ours::with(quick(dir.path())).unwrap();
    let mut command = std::process::Command::new(interpreter);
    command
        .arg(root().join("tests/python/kazoo_recipes.py"))
        .arg(format!("127.0.0.1:{}", ours.port));
    let out = run(command, b"", Duration::from_secs(180));
    assert!(
        out.status.success(),
        "{}\n{}",
        text(&out.stdout),
        text(&out.stderr)
    );
}
