//! A random life of writes against a plain map: the tree, what is pending, a snapshot in between and
//! the replay of the log must all come to the same. A failure prints its seed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::jute::{CreateRequest, DeleteRequest, SetDataRequest};
use crate::keeper::acl::AclRules;
use crate::keeper::prepare::{Pending, Preparer};
use crate::keeper::request::Request;
use crate::keeper::snapshot;
use crate::util::clock::Clock;

/// What a node is in the plain map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    data: Vec<u8>,
    version: i32,
    creates: i32,
    owner: i64,
}

#[derive(Default)]
struct Model(BTreeMap<String, Plain>);

impl Model {
    fn children(&self, path: &str) -> usize {
        self.0
            .keys()
            .filter(|p| *p != "/" && path::parent(p) == Some(path))
            .count()
    }

    fn create(&mut self, path: &str, data: &[u8], session: i64, mode: usize) -> bool {
        let parent = path::parent(path).unwrap().to_owned();
        let Some(node) = self.0.get(&parent).cloned() else {
            return false;
        };
        let path = match mode {
            2 => format!("{path}{:010}", node.creates),
            _ => path.to_owned(),
        };
        if self.0.contains_key(&path) || node.owner != 0 {
            return false;
        }
        self.0.get_mut(&parent).unwrap().creates += 1;
        self.0.insert(
            path,
            Plain {
                data: data.to_vec(),
                version: 0,
                creates: 0,
                owner: if mode == 1 { session } else { 0 },
            },
        );
        true
    }

    fn delete(&mut self, path: &str, version: i32) -> bool {
        let fits = |node: &Plain| version == -1 || version == node.version;
        let ok = self.children(path) == 0 && self.0.get(path).is_some_and(fits);
        ok && self.0.remove(path).is_some()
    }

    fn set(&mut self, path: &str, data: &[u8], version: i32) -> bool {
        match self.0.get_mut(path) {
            Some(node) if version == -1 || version == node.version => {
                node.version += 1;
                node.data = data.to_vec();
                true
            }
            _ => false,
        }
    }

    fn end(&mut self, session: i64) {
        self.0.retain(|_, node| node.owner != session);
    }
}

fn plain(tree: &Tree) -> BTreeMap<String, Plain> {
    tree.walk()
        .filter(|(path, _)| !path.starts_with("/zookeeper"))
        .map(|(path, node)| {
            let plain = Plain {
                data: node.data.as_deref().unwrap_or_default().to_vec(),
                version: node.version,
                creates: node.creates,
                owner: node.owner,
            };
            (path.to_owned(), plain)
        })
        .collect()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

#[test]
fn a_random_life_comes_to_the_same_as_in_a_plain_map() {
    let seed = match std::env::var("KAFKA_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => Clock::system().wall().0 as u64,
    };
    println!("KAFKA_TEST_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let rules = AclRules::default();
    let (mut tree, mut pending) = (Tree::default(), Pending::default());
    let mut model = Model::default();
    let root = Plain {
        data: vec![],
        version: 0,
        creates: 0,
        owner: 0,
    };
    model.0.insert("/".into(), root);
    let mut waiting: Vec<(TxnHeader, Txn)> = Vec::new();
    let mut log = Vec::new();
    let mut fuzzy = None;
    for zxid in 1..=4000 {
        let name = |dice: &mut Dice| {
            ["/a", "/b", "/a/x", "/a/y", "/a/x/1", "/b/z", "/b/z/2"][dice.below(7)].to_owned()
        };
        let (path, session) = (name(&mut dice), 100 + dice.below(3) as i64);
        let data = vec![b'd'; dice.below(4)];
        let version = dice.below(4) as i32 - 1;
        let (request, expected) = match dice.below(10) {
            0..=4 => {
                let mode = dice.below(3);
                let ok = model.create(&path, &data, session, mode);
                let request = CreateRequest {
                    path,
                    data: Some(Bytes::from(data)),
                    acl: Acl::open(),
                    flags: mode as i32,
                };
                (Request::Create(crate::jute::OpCode::Create, request), ok)
            }
            5 | 6 => {
                let ok = model.delete(&path, version);
                (Request::Delete(DeleteRequest { path, version }), ok)
            }
            7 | 8 => {
                let ok = model.set(&path, &data, version);
                let data = Some(Bytes::from(data));
                (Request::SetData(SetDataRequest { path, data, version }), ok)
            }
            _ => {
                model.end(session);
                (Request::CloseSession, true)
            }
        };
        let header = TxnHeader {
            session,
            zxid,
            time_ms: 1000 + zxid,
            cxid: 0,
        };
        let preparer = Preparer::new(&tree, &mut pending, &rules, false, &[], (session, zxid));
        let txn = preparer.prepare(&request);
        assert_eq!(
            !matches!(txn, Txn::Error(_)),
            expected,
            "{zxid}: {request:?} came to {txn:?}"
        );
        waiting.push((header, txn));
        // Applied late and in bursts, as the log has it.
        if dice.below(6) == 0 {
            for (header, txn) in waiting.drain(..) {
                let outcome = tree.apply(&header, &txn, &mut Vec::new());
                let failed = matches!(outcome, Outcome::Failed(_));
                assert_eq!(failed, matches!(txn, Txn::Error(_)), "{txn:?}");
                pending.forget(header.zxid);
                log.push((header, txn));
            }
            assert!(pending.is_empty());
            assert_eq!(plain(&tree), model.0, "after {zxid}");
        }
        if zxid == 2000 {
            fuzzy = Some(tree.clone());
        }
    }
    for (header, txn) in waiting {
        tree.apply(&header, &txn, &mut Vec::new());
        log.push((header, txn));
    }
    let everything = |tree: &Tree| snapshot::encode(tree, &BTreeMap::new());
    // Replay over a snapshot that already holds a part of the log, named for an earlier transaction.
    let mut replayed = fuzzy.expect("taken on the way");
    for (header, txn) in log.iter().filter(|(header, _)| header.zxid > 1900) {
        replayed.apply(header, txn, &mut Vec::new());
    }
    assert_eq!(plain(&replayed), plain(&tree));
    let mut fresh = Tree::default();
    for (header, txn) in &log {
        fresh.apply(header, txn, &mut Vec::new());
    }
    assert_eq!(everything(&fresh), everything(&tree));
    let names: usize = tree
        .walk()
        .map(|(p, n)| p.len() + n.data.as_ref().map_or(0, |d| d.len()))
        .sum();
    assert_eq!(tree.size(), names);
}

#[test]
fn sequence_numbers_turn_negative_like_javas() {
    let mut tree = Tree::default();
    tree.get_mut("/").unwrap().creates = i32::MAX;
    let (mut pending, rules) = (Pending::default(), AclRules::default());
    for (zxid, expected) in [(1, "/s2147483647"), (2, "/s-2147483648")] {
        let request = CreateRequest {
            path: "/s".into(),
            acl: Acl::open(),
            flags: 2,
            ..CreateRequest::default()
        };
        let request = Request::Create(crate::jute::OpCode::Create, request);
        let preparer = Preparer::new(&tree, &mut pending, &rules, false, &[], (1, zxid));
        match preparer.prepare(&request) {
            Txn::Create(node) => assert_eq!(node.path, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_quota_counts_and_warns_but_forbids_nothing() {
    let mut tree = Tree::default();
    let mut zxid = 0;
    let mut make = |tree: &mut Tree, path: &str, data: &'static [u8]| {
        zxid += 1;
        let header = TxnHeader {
            zxid,
            ..TxnHeader::default()
        };
        let txn = Txn::Create(NewNode {
            path: path.into(),
            data: Some(Bytes::from_static(data)),
            acl: Acl::open(),
            life: Life::Persistent,
            parent_creates: -1,
        });
        let outcome = tree.apply(&header, &txn, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Made { .. }), "{path}: {outcome:?}");
    };
    make(&mut tree, "/q", b"12");
    make(&mut tree, "/q/r", b"345");
    make(&mut tree, "/zookeeper/quota/q", b"");
    make(
        &mut tree,
        "/zookeeper/quota/q/zookeeper_limits",
        b"count=3,bytes=-1",
    );
    make(
        &mut tree,
        "/zookeeper/quota/q/zookeeper_stats",
        b"count=0,bytes=0",
    );
    let stats = |tree: &Tree| {
        let node = tree.get("/zookeeper/quota/q/zookeeper_stats").unwrap();
        String::from_utf8(node.data.clone().unwrap().into()).unwrap()
    };
    assert_eq!(stats(&tree), "count=2,bytes=5");
    make(&mut tree, "/q/r/s", b"6");
    make(&mut tree, "/q/t", b"7");
    assert_eq!(stats(&tree), "count=4,bytes=7");
    let header = TxnHeader {
        zxid: 100,
        ..TxnHeader::default()
    };
    tree.apply(
        &header,
        &Txn::Delete {
            path: "/q/r/s".into(),
        },
        &mut Vec::new(),
    );
    assert_eq!(stats(&tree), "count=3,bytes=6");
    let txn = Txn::SetData {
        path: "/q/t".into(),
        data: None,
        version: 1,
    };
    tree.apply(&header, &txn, &mut Vec::new());
    assert_eq!(stats(&tree), "count=3,bytes=5");
    let bytes = snapshot::encode(&tree, &BTreeMap::new());
    let dir = tempfile::tempdir().unwrap();
    let path = snapshot::write(dir.path(), 100, &bytes).unwrap();
    let (mut read, _) = snapshot::read(&path).unwrap();
    read.arm_quotas();
    make(&mut read, "/q/u", b"");
    assert_eq!(stats(&read), "count=4,bytes=5");
}
