//! What a follower does with its leader's answers: keeps what is equal, cuts what differs, appends what is
//! new. The leader is a list of messages.

use std::io::ErrorKind;
use std::sync::mpsc;

use bytes::Bytes;

use super::*;
use crate::message::flatten;
use crate::replica::agreement::{Extent, STRETCH};
use crate::replica::partition::Partition;
use crate::util::fs::testing::{Disk, Fault, Op, When};

const LEADER: BrokerId = BrokerId(2);
const CONNECTION: u64 = 1;

/// Entries with these values at offsets from `first` on.
fn entries(first: Offset, values: &[&str]) -> Bytes {
    let mut all = Vec::new();
    for (n, value) in (first..).zip(values) {
        let mut builder = SetBuilder::new(Codec::None, 1 << 20);
        assert!(builder.append(Some(b"key"), Some(value.as_bytes())));
        let mut one = builder.finish().to_vec();
        one[..8].copy_from_slice(&n.to_be_bytes());
        all.extend(one);
    }
    all.into()
}

/// A broker that follows, and its leader's log.
struct Following {
    case: Case,
    partition: Arc<Partition>,
    theirs: Vec<String>,
    /// The leader's first offset.
    start: Offset,
    /// The leader's.
    high_watermark: Offset,
}

impl Following {
    /// With these messages here, of which the first `high_watermark` were committed, and those there.
    async fn new(config: LogConfig, mine: &[&str], high_watermark: Offset, theirs: &[&str]) -> Following {
        let case = Case::with(config);
        case.decide(1, 0, &[1, 2], &[1, 2]).await.unwrap();
        let partition = case.replicas.need(&tp()).unwrap();
        if !mine.is_empty() {
            let set = BytesMut::from(&entries(0, mine)[..]);
            partition.append(set, 1, case.clock.wall()).unwrap();
        }
        case.read(2, high_watermark).await.unwrap();
        assert_eq!(case.high_watermark(), high_watermark);
        case.decide(2, 1, &[1, 2], &[1, 2]).await.unwrap();
        Following {
            case,
            partition,
            theirs: theirs.iter().map(|s| (*s).to_owned()).collect(),
            start: 0,
            high_watermark: Offset::try_from(theirs.len()).unwrap(),
        }
    }

    /// As [`new`](Self::new), with all of `mine` committed, over many segments.
    async fn in_pieces(config: LogConfig, mine: &[&str]) -> Following {
        let config = LogConfig {
            segment_bytes: 100_000,
            ..config
        };
        let f = Following::new(config, &[], 0, &[]).await;
        f.case.decide(1, 2, &[1], &[1, 2]).await.unwrap();
        for piece in mine.chunks(50) {
            let set = BytesMut::from(&entries(0, piece)[..]);
            f.partition.append(set, 1, f.case.clock.wall()).unwrap();
        }
        f.case.decide(2, 3, &[1, 2], &[1, 2]).await.unwrap();
        f
    }

    fn mine(&self) -> Vec<String> {
        let log = self.case.replicas.logs.get(&tp()).unwrap();
        let mut values = Vec::new();
        let mut offset = log.start_offset();
        while let Some(slice) = log.read(offset, 1 << 20, None).unwrap().slice {
            let mut bytes = vec![0; slice.len];
            crate::util::fs::read_at(&slice.file, &mut bytes, slice.position).unwrap();
            for message in flatten(&bytes.into(), true).unwrap() {
                values.push(String::from_utf8(message.value.unwrap().to_vec()).unwrap());
                offset = message.offset + 1;
            }
        }
        values
    }

    /// One question and its answer; returns the offset asked for.
    fn exchange(&self) -> Offset {
        self.exchange_over(CONNECTION).unwrap()
    }

    fn exchange_over(&self, connection: u64) -> Result<Offset> {
        let question = self.partition.ask(LEADER, connection).unwrap().unwrap();
        let end = self.start + Offset::try_from(self.theirs.len()).unwrap();
        if question.offset < self.start || question.offset > end {
            let theirs = Extent {
                start: self.start,
                end,
            };
            self.partition.out_of_range(LEADER, &question, theirs)?;
            return Ok(question.offset);
        }
        let from = usize::try_from(question.offset - self.start).unwrap();
        let values: Vec<&str> = self.theirs[from..].iter().map(String::as_str).collect();
        let set = entries(question.offset, &values);
        let wall = self.case.clock.wall();
        let copied = self
            .partition
            .take_fetched(LEADER, &question, set, self.high_watermark, wall)?;
        assert!(copied.counted);
        self.case.replicas.count_cut(copied.cut, copied.lost);
        Ok(question.offset)
    }

    fn lost(&self) -> u64 {
        let name = crate::metrics::Name::new("kafka.server", "ReplicaManager", "LostMessagesPerSec", &[]);
        self.case.replicas.settings.metrics.meter(name).count()
    }
}

fn allowing(unclean: bool) -> LogConfig {
    LogConfig {
        unclean_leader_election_enable: unclean,
        ..LogConfig::default()
    }
}

#[tokio::test]
async fn the_tail_above_the_high_watermark_stays_when_the_leader_has_it_too() {
    let f = Following::new(allowing(false), &["a", "b", "c"], 1, &["a", "b", "c", "d"]).await;
    assert_eq!(f.mine(), ["a", "b", "c"], "becoming a follower cuts nothing");
    assert_eq!(f.exchange(), 0, "asked from before the high watermark on");
    assert_eq!(f.mine(), ["a", "b", "c", "d"]);
    assert_eq!(f.case.high_watermark(), 4);
    assert_eq!(f.exchange(), 4);
}

#[tokio::test]
async fn the_tail_stays_when_the_leader_has_nothing_there_yet() {
    let mut f = Following::new(allowing(false), &["a", "b", "c"], 1, &["a"]).await;
    f.exchange();
    for _ in 0..3 {
        assert_eq!(f.exchange(), 1, "what the leader lacks does not count");
        assert_eq!(f.mine(), ["a", "b", "c"]);
        assert_eq!(f.case.high_watermark(), 1);
    }
    // The leader gets the same from a producer that tries again, and then something else.
    f.theirs.push("b".into());
    f.high_watermark = 2;
    f.exchange();
    assert_eq!(f.mine(), ["a", "b", "c"]);
    assert_eq!(f.case.high_watermark(), 2);
    f.theirs.extend(["x".into(), "y".into()]);
    assert_eq!(f.exchange(), 2);
    assert_eq!(f.mine(), ["a", "b", "x", "y"]);
    assert_eq!(f.lost(), 0, "what was cut was never committed");
}

#[tokio::test]
async fn a_replica_that_leads_again_has_all_that_it_kept() {
    let f = Following::new(allowing(false), &["a", "b", "c"], 1, &["a"]).await;
    f.exchange();
    f.case.decide(1, 2, &[1], &[1, 2]).await.unwrap();
    assert_eq!(f.mine(), ["a", "b", "c"]);
    assert_eq!(f.case.high_watermark(), 3);
}

#[tokio::test]
async fn a_difference_above_the_high_watermark_is_cut_where_it_begins() {
    let f = Following::new(
        allowing(false),
        &["a", "b", "c", "d"],
        2,
        &["a", "b", "c", "x", "y", "z"],
    )
    .await;
    f.exchange();
    assert_eq!(f.mine(), ["a", "b", "c", "x", "y", "z"]);
    assert_eq!(f.lost(), 0);
}

#[tokio::test]
async fn committed_messages_are_cut_only_where_the_topic_allows_it_and_are_counted() {
    let (mine, theirs) = (["a", "b", "c", "d"], ["a", "x", "y"]);
    let f = Following::new(allowing(true), &mine, 3, &theirs).await;
    f.exchange();
    assert_eq!(f.mine(), ["a", "x", "y"]);
    assert_eq!(f.lost(), 2);
    assert_eq!(f.case.high_watermark(), 3);

    let f = Following::new(allowing(false), &mine, 3, &theirs).await;
    for _ in 0..2 {
        assert!(matches!(
            f.exchange_over(CONNECTION),
            Err(Error::CommittedDiffers {
                at: 1,
                high_watermark: 3,
                ..
            })
        ));
        assert_eq!(f.mine(), mine);
    }
    assert_eq!(f.lost(), 0);
}

#[tokio::test]
async fn a_leader_that_is_shorter_than_the_high_watermark_costs_nothing_until_it_differs() {
    let mut f = Following::new(allowing(true), &["a", "b", "c", "d"], 4, &["a", "b"]).await;
    f.high_watermark = 1;
    // Compared from the beginning, as the whole log is short.
    assert_eq!(f.exchange(), 0);
    assert_eq!(f.exchange(), 2);
    assert_eq!(f.mine(), ["a", "b", "c", "d"]);
    f.theirs.push("x".into());
    f.exchange();
    assert_eq!(f.mine(), ["a", "b", "x"]);
    assert_eq!(f.lost(), 2);
}

#[tokio::test]
async fn an_empty_leader_empties_nobody() {
    let mut f = Following::new(allowing(true), &["a", "b"], 2, &[]).await;
    for _ in 0..3 {
        assert_eq!(f.exchange(), 0);
        assert_eq!(f.mine(), ["a", "b"]);
    }
    f.theirs.push("x".into());
    f.exchange();
    assert_eq!(f.mine(), ["x"]);
    assert_eq!(f.lost(), 2);
}

#[tokio::test]
async fn a_leader_that_begins_after_the_copys_end_makes_it_begin_anew() {
    let mut f = Following::new(allowing(false), &["a", "b"], 2, &["e", "f"]).await;
    (f.start, f.high_watermark) = (4, 6);
    f.exchange();
    assert_eq!(f.exchange(), 4);
    assert_eq!(f.mine(), ["e", "f"]);
    // One that begins within the copy is compared from there on.
    let mut f = Following::new(allowing(false), &["a", "b", "c"], 3, &["c", "d"]).await;
    (f.start, f.high_watermark) = (2, 4);
    assert_eq!(f.exchange(), 0);
    assert_eq!(f.exchange(), 2);
    assert_eq!(f.mine(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_new_connection_compares_anew_for_the_leader_may_have_another_log() {
    let mut f = Following::new(allowing(true), &["a", "b"], 2, &["a", "b", "c"]).await;
    f.exchange();
    assert_eq!(f.mine(), ["a", "b", "c"]);
    f.theirs = ["a", "x", "y", "z"].map(String::from).into();
    assert_eq!(f.exchange(), 3);
    assert_eq!(
        f.mine(),
        ["a", "b", "c", "z"],
        "within a connection a leader changes nothing"
    );
    f.exchange_over(CONNECTION + 1).unwrap();
    assert_eq!(f.mine(), ["a", "x", "y", "z"]);
}

#[tokio::test]
async fn answers_to_questions_of_another_run_are_void() {
    let f = Following::new(allowing(true), &["a"], 1, &["a", "b"]).await;
    let question = f.partition.ask(LEADER, CONNECTION).unwrap().unwrap();
    f.case.decide(1, 2, &[1, 2], &[1, 2]).await.unwrap();
    f.case.decide(2, 3, &[1, 2], &[1, 2]).await.unwrap();
    f.partition.ask(LEADER, CONNECTION).unwrap().unwrap();
    let wall = f.case.clock.wall();
    let copied = f
        .partition
        .take_fetched(LEADER, &question, entries(0, &["x"]), 1, wall)
        .unwrap();
    assert!(!copied.counted);
    assert_eq!(f.mine(), ["a"]);
}

#[tokio::test]
async fn a_difference_far_below_the_high_watermark_is_found_behind_long_equal_stretches() {
    // Equal messages on both sides behind the one that differs, many times more than are compared at first.
    let padding = "p".repeat(1000);
    let count = usize::try_from(STRETCH / 1000).unwrap() * 80;
    let mut theirs: Vec<&str> = vec![&padding; count];
    theirs[0] = "first";
    let mut mine = theirs.clone();
    (theirs[1], mine[1]) = ("x", "y");
    // And one that differs near the high watermark, so that copies are known to have parted.
    let near = count - 3;
    (theirs[near], mine[near]) = ("x", "y");
    let mut f = Following::in_pieces(allowing(true), &mine).await;
    f.theirs = theirs.iter().map(|s| (*s).to_owned()).collect();
    f.high_watermark = Offset::try_from(count).unwrap();
    let mut rounds = 0;
    while f.mine() != f.theirs {
        f.exchange();
        rounds += 1;
        assert!(rounds < 50, "it comes to an end");
    }
    assert_eq!(f.lost(), u64::try_from(count - 1).unwrap());
}

#[tokio::test]
async fn compacted_topics_differ_by_what_they_hold_not_by_what_was_cleaned() {
    let compact = LogConfig {
        compact: true,
        ..allowing(false)
    };
    let f = Following::new(compact.clone(), &["a", "b", "c", "d"], 1, &[]).await;
    let question = f.partition.ask(LEADER, CONNECTION).unwrap().unwrap();
    // The leader has cleaned offset 1 away.
    let set = [entries(0, &["a"]), entries(2, &["c", "x", "y"])].concat();
    let wall = f.case.clock.wall();
    f.partition
        .take_fetched(LEADER, &question, set.into(), 4, wall)
        .unwrap();
    assert_eq!(f.mine(), ["a", "b", "c", "x", "y"]);
}

#[tokio::test]
async fn a_replica_that_is_taken_off_duty_while_it_compares_comes_to_an_end() {
    let compact = LogConfig {
        compact: true,
        ..allowing(false)
    };
    let values: Vec<String> = (0..5000).map(|n: u32| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut compared = 0;
    for _ in 0..100 {
        let f = Following::new(compact.clone(), &values, 0, &values).await;
        let question = f.partition.ask(LEADER, CONNECTION).unwrap().unwrap();
        let (partition, set, wall) = (f.partition.clone(), entries(0, &values), f.case.clock.wall());
        let (told, outcome) = mpsc::channel();
        std::thread::spawn(move || {
            told.send(None).unwrap();
            let copied = partition.take_fetched(LEADER, &question, set, 0, wall);
            told.send(Some(copied)).unwrap();
        });
        assert!(outcome.recv().unwrap().is_none(), "it begins");
        let stopped = f
            .case
            .replicas
            .stop_replicas(ControllerEpoch(1), false, vec![tp()]);
        stopped.await.unwrap();
        let copied = outcome.recv_timeout(Duration::from_secs(60));
        let copied = copied.expect("it comes to an end").unwrap().unwrap();
        assert!(f.partition.ask(LEADER, CONNECTION).unwrap().is_none());
        // Else it was off duty before it began.
        compared += usize::from(copied.counted);
        if compared == 3 {
            return;
        }
    }
    panic!("it never began before it was taken off duty");
}

#[tokio::test]
async fn a_message_above_the_fetch_size_is_said_to_be_stuck() {
    let f = Following::new(allowing(true), &["a"], 1, &["a", "b"]).await;
    let question = f.partition.ask(LEADER, CONNECTION).unwrap().unwrap();
    let part = entries(0, &["a"]).slice(..20);
    let wall = f.case.clock.wall();
    let copied = f
        .partition
        .take_fetched(LEADER, &question, part, 1, wall)
        .unwrap();
    assert!(copied.stuck && copied.counted);
    assert_eq!(f.mine(), ["a"]);
}

#[tokio::test]
async fn only_a_missed_decision_or_another_leader_begins_the_comparison_anew() {
    let f = Following::new(allowing(true), &["a", "b"], 2, &["a", "b"]).await;
    f.exchange();
    assert_eq!(f.exchange(), 2);
    // The next decision keeps the leader: an in-sync set that shrank.
    f.case.decide(2, 2, &[2], &[1, 2]).await.unwrap();
    assert_eq!(f.exchange(), 2);
    f.case.decide(2, 4, &[2], &[1, 2]).await.unwrap();
    assert_eq!(f.exchange(), 0);
    f.case.decide(-1, 5, &[2], &[1, 2]).await.unwrap();
    assert!(f.partition.ask(LEADER, CONNECTION).unwrap().is_none());
    f.case.decide(2, 6, &[2], &[1, 2]).await.unwrap();
    assert_eq!(f.exchange(), 0);
}

/// 0.9.0.1 ends the process.
#[tokio::test]
async fn a_disk_that_fails_under_a_follower_ends_the_broker_only_if_it_is_the_last() {
    for (names, halts) in [(&["a", "b"][..], 0), (&["a"][..], 1)] {
        let root = Arc::new(tempfile::tempdir().unwrap());
        let disk = Disk::over(root.path());
        let dirs: Vec<_> = names.iter().map(|name| root.path().join(name)).collect();
        let case = Case::on(&dirs, root, LogConfig::default());
        case.decide(2, 0, &[1, 2], &[1, 2]).await.unwrap();
        let partition = case.replicas.need(&tp()).unwrap();
        disk.fail(When {
            path: "/a/",
            ..When::every(Op::Write, Fault::Error(ErrorKind::Other))
        });
        let question = partition.ask(LEADER, CONNECTION).unwrap().unwrap();
        let failure = partition
            .take_fetched(LEADER, &question, entries(0, &["x"]), 0, case.clock.wall())
            .unwrap_err();
        assert!(failure.is_storage(), "{failure}");
        case.replicas.cannot_copy(&tp(), None, &failure);
        assert_eq!(case.halts.load(Ordering::SeqCst), halts, "{names:?}");
    }
}
