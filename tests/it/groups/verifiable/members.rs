//! A verifiable consumer, and what the lines say that it prints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::cluster::Whose;
use crate::support::program::Program;

/// What a member consumed of a partition from the moment it was given it until it gave it up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) partition: i32,
    /// The first offset.
    pub(super) from: i64,
    /// The last offset of which it was told that it is committed.
    pub(super) committed: Option<i64>,
    /// Behind the last offset.
    pub(super) to: i64,
}

/// A consumer of the group, or one that has been.
pub(super) struct Member {
    pub(super) program: Program,
    /// How many of its lines are taken in.
    read: usize,
    assigned: usize,
    /// Nothing while it waits for one.
    share: Option<BTreeSet<i32>>,
    turns: Vec<Turn>,
    /// Where the turns are that go on, by partition.
    open: BTreeMap<i32, usize>,
}

impl Member {
    /// `session_timeout` in milliseconds.
    pub(super) fn start(whose: Whose, dir: &Path, servers: &str, session_timeout: &str) -> Member {
        let config = dir.join("verifiable.properties");
        std::fs::write(&config, "heartbeat.interval.ms=500\nmetadata.max.age.ms=2000\n").unwrap();
        let mut command = whose.command("kafka-verifiable-consumer");
        command.args(["--broker-list", servers, "--topic", "t", "--group-id", "g"]);
        command
            .args(["--session-timeout", session_timeout, "--consumer.config"])
            .arg(config);
        Member {
            program: Program::start(command),
            read: 0,
            assigned: 0,
            share: None,
            turns: vec![],
            open: BTreeMap::new(),
        }
    }

    /// How often it was told its share.
    pub(super) fn rebalances(&mut self) -> usize {
        self.take_in();
        self.assigned
    }

    /// The partitions that are its own, as far as it knows; `None` while it waits to be told, and once it has ended.
    pub(super) fn share(&mut self) -> Option<BTreeSet<i32>> {
        if !self.program.is_running() {
            return None;
        }
        self.take_in();
        self.share.clone()
    }

    /// All its turns with something consumed, in order.
    pub(super) fn turns(&mut self) -> &[Turn] {
        self.take_in();
        &self.turns
    }

    /// Whether it says that it has ended in order.
    pub(super) fn left(&self) -> bool {
        let lines = self.program.stdout();
        lines.iter().any(|l| l.contains("\"name\":\"shutdown_complete\""))
    }

    fn take_in(&mut self) {
        let lines = self.program.stdout_from(self.read);
        self.read += lines.len();
        for line in lines {
            let is = |name: &str| line.contains(&format!("\"name\":\"{name}\""));
            if is("partitions_assigned") {
                self.assigned += 1;
                self.share = Some(objects(&line).map(partition).collect());
                self.open.clear();
            } else if is("partitions_revoked") {
                self.share = None;
                self.open.clear();
            } else if is("records_consumed") {
                objects(&line).for_each(|o| self.consumed(o));
            } else if is("offsets_committed") && line.contains("\"success\":true") {
                objects(&line).for_each(|o| self.committed(o));
            }
        }
    }

    fn consumed(&mut self, batch: &str) {
        let (partition, from) = (partition(batch), number(batch, "minOffset"));
        let to = number(batch, "maxOffset") + 1;
        assert!(
            self.share.as_ref().is_some_and(|s| s.contains(&partition)),
            "{batch} is not of its share {:?}",
            self.share
        );
        match self.open.get(&partition) {
            Some(&at) => {
                let turn = &mut self.turns[at];
                assert_eq!(turn.to, from, "{batch} follows {turn:?}");
                turn.to = to;
            }
            None => {
                self.open.insert(partition, self.turns.len());
                self.turns.push(Turn {
                    partition,
                    from,
                    committed: None,
                    to,
                });
            }
        }
    }

    fn committed(&mut self, position: &str) {
        let offset = number(position, "offset");
        let at = self.open.get(&partition(position));
        let turn = &mut self.turns[*at.expect("it commits what it has consumed")];
        assert_eq!(offset, turn.to, "what is committed is what was consumed");
        turn.committed = Some(offset);
    }
}

/// The objects within a line's object.
fn objects(line: &str) -> impl Iterator<Item = &str> {
    line.split('{').skip(2).filter_map(|o| o.split('}').next())
}

fn partition(object: &str) -> i32 {
    i32::try_from(number(object, "partition")).unwrap()
}

fn number(object: &str, name: &str) -> i64 {
    let (_, rest) = object.split_once(&format!("\"{name}\":")).expect(object);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().expect(object)
}
