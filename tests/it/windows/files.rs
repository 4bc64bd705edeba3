//! Files that are renamed, replaced and removed while others write and read them: rolling, retention,
//! compaction, deletion of topics and making them anew, by a broker that dies in the middle of it.

use std::sync::atomic::Ordering;

use super::load::{self, End, Load};
use super::{Servers, Site, leftovers, wait_clean};
use crate::support::holds_within;
use crate::support::wine::{LIMIT, Package};

/// Waits until every client of the load has got on by a step.
#[track_caller]
fn wait_going_on(load: &Load, servers: &mut Servers) {
    let before = load.counts();
    let goes_on = holds_within(LIMIT, || {
        let running = servers.broker.program.is_running();
        assert!(running, "the broker died: {}", servers.broker.program.printed());
        load.counts()
            .iter()
            .zip(before)
            .all(|(now, before)| *now > before)
    });
    let trouble = load.trouble.lock().unwrap();
    assert!(goes_on, "{before:?} {:?} {trouble:?}", load.counts());
}

#[test]
fn a_broker_that_is_killed_while_it_rolls_compacts_and_deletes_loses_nothing_and_leaves_nothing_behind() {
    let site = Site::new(need!(Package::unpack()));
    let log_dir = load::configure(&site.package);
    let mut servers = site.start();
    let operator = load::make_topics(&site);
    let load = Load::default();
    std::thread::scope(|scope| {
        let _end = End(&load);
        load.start(scope, &site, &operator);
        wait_going_on(&load, &mut servers);
        for _ in 0..2 {
            servers.broker.kill();
            servers.broker = site.start_broker();
            wait_going_on(&load, &mut servers);
        }
        load::wait_retention(site.port, || ());
    });

    load::check(&site, &log_dir, &load);
    wait_clean(&log_dir, LIMIT);
    servers.broker.interrupt();
    assert!(log_dir.join(".kafka_cleanshutdown").exists());
    servers.broker = site.start_broker();
    let said = servers.broker.program.printed();
    assert!(!said.contains("Recovering unflushed segment"), "{said}");
    load::check_kept(&site, load.kept.load(Ordering::Relaxed));
    servers.broker.interrupt();
    servers.zookeeper.interrupt();
    assert_eq!(leftovers(&log_dir), Vec::<std::path::PathBuf>::new());
}
