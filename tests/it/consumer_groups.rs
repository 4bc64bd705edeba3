//! Consumers that share a group: ours with each other and with genuine ones. Assignments are balanced and
//! agreed, every record is processed at least once, and who dies or stops polling is replaced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka::client::consumer::{AssignmentStrategy, Consumer, ConsumerSettings, Listening, RebalanceListener};
use kafka::cluster::TopicPartition;
use kafka::message::Codec;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::consumer::{QUICK, send, settings};
use crate::support::cluster::{Cluster, Whose};
use crate::support::program::Program;
use crate::support::{reference, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// What a member has seen.
#[derive(Default)]
struct Seen {
    owned: BTreeSet<TopicPartition>,
    /// Values with their partition.
    values: Vec<(TopicPartition, String)>,
    rebalances: usize,
    /// Owned partitions that were asked for elsewhere at the same time.
    error: Option<String>,
}

/// A consumer of ours in a task of its own.
struct Member {
    seen: Arc<Mutex<Seen>>,
    polls: Arc<std::sync::atomic::AtomicBool>,
    stop: Arc<tokio::sync::Notify>,
    task: Option<JoinHandle<()>>,
}

/// Commits before it gives up, and notes what it has.
struct Keeper(Arc<Mutex<Seen>>);

impl RebalanceListener for Keeper {
    fn on_partitions_revoked<'a>(
        &'a mut self,
        consumer: &'a mut Consumer,
        _: &'a [TopicPartition],
    ) -> Listening<'a> {
        Box::pin(async move {
            self.0.lock().unwrap().owned.clear();
            // Whoever was put out of the group cannot commit; others go on behind what was.
            let _ = consumer.commit_sync().await;
            Ok(())
        })
    }

    fn on_partitions_assigned<'a>(
        &'a mut self,
        _: &'a mut Consumer,
        partitions: &'a [TopicPartition],
    ) -> Listening<'a> {
        let mut seen = self.0.lock().unwrap();
        seen.owned = partitions.iter().cloned().collect();
        seen.rebalances += 1;
        Box::pin(async { Ok(()) })
    }
}

impl Member {
    fn start(runtime: &Runtime, settings: ConsumerSettings, topics: &[&str]) -> Member {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let polls = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let stop = Arc::new(tokio::sync::Notify::new());
        let topics: Vec<String> = topics.iter().map(|t| (*t).to_owned()).collect();
        let task = runtime.spawn({
            let (seen, polls, stop) = (seen.clone(), polls.clone(), stop.clone());
            async move {
                let mut consumer = Consumer::new(settings).unwrap();
                consumer.subscribe_with(topics, Keeper(seen.clone())).unwrap();
                loop {
                    if !polls.load(std::sync::atomic::Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    tokio::select! {
                        () = stop.notified() => break,
                        polled = consumer.poll(Duration::from_millis(100)) => match polled {
                            Ok(records) => {
                                let mut seen = seen.lock().unwrap();
                                for r in records {
                                    let value = String::from_utf8(r.value.unwrap().to_vec()).unwrap();
                                    seen.values.push((r.partition, value));
                                }
                            }
                            Err(e) => {
                                seen.lock().unwrap().error = Some(e.to_string());
                                break;
                            }
                        },
                    }
                }
                // A cut poll loses nothing: what it had handed out was noted.
                let _ = consumer.commit_sync().await;
                consumer.close().await.unwrap();
            }
        });
        Member {
            seen,
            polls,
            stop,
            task: Some(task),
        }
    }

    fn owned(&self) -> BTreeSet<TopicPartition> {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.error, None);
        seen.owned.clone()
    }

    fn values(&self) -> Vec<(TopicPartition, String)> {
        self.seen.lock().unwrap().values.clone()
    }

    fn polls(&self, polls: bool) {
        self.polls.store(polls, std::sync::atomic::Ordering::SeqCst);
    }

    /// Leaves in order.
    fn close(mut self, runtime: &Runtime) {
        self.stop.notify_one();
        runtime.block_on(self.task.take().unwrap()).unwrap();
    }

    /// Goes without a word, as a process that is killed.
    fn kill(&self) {
        self.task.as_ref().unwrap().abort();
    }
}

fn names(owned: &BTreeSet<TopicPartition>) -> String {
    let names: Vec<String> = owned.iter().map(TopicPartition::dir_name).collect();
    names.join(" ")
}

/// Waits until the members own these partitions, in whichever order.
#[track_caller]
fn wait_shares(members: &[&Member], expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|s| (*s).to_owned()).collect();
    expected.sort();
    wait_until(&format!("the shares are {expected:?}"), LIMIT, || {
        let mut shares: Vec<String> = members.iter().map(|m| names(&m.owned())).collect();
        shares.sort();
        shares == expected
    });
}

fn with(cluster: &Cluster, group: &str, strategy: AssignmentStrategy) -> ConsumerSettings {
    ConsumerSettings {
        strategies: vec![strategy],
        session_timeout: Duration::from_secs(3),
        ..settings(cluster, group)
    }
}

fn fill(runtime: &Runtime, cluster: &Cluster, topic: &str, partitions: i32, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for p in 0..partitions {
        let values: Vec<String> = (0..50).map(|i| format!("{name} {topic} {p} {i}")).collect();
        runtime.block_on(send(
            cluster,
            &TopicPartition::new(topic, p),
            &values,
            Codec::None,
        ));
        all.extend(values);
    }
    all
}

/// Members that come, go, die and fall silent.
fn sharing(whose: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), whose, QUICK);
    cluster.create("a", 4);
    cluster.create("b", 2);
    let runtime = Runtime::new().unwrap();
    let topics = ["a", "b"];
    for (strategy, two, three) in [
        (
            AssignmentStrategy::Range,
            ["a-0 a-1 b-0", "a-2 a-3 b-1"],
            ["a-0 a-1 b-0", "a-2 b-1", "a-3"],
        ),
        (
            AssignmentStrategy::RoundRobin,
            ["a-0 a-2 b-0", "a-1 a-3 b-1"],
            ["a-0 a-3", "a-1 b-0", "a-2 b-1"],
        ),
    ] {
        let group = format!("g-{}", strategy.name());
        let start = || Member::start(&runtime, with(&cluster, &group, strategy), &topics);
        let first = start();
        wait_shares(&[&first], &["a-0 a-1 a-2 a-3 b-0 b-1"]);
        let second = start();
        wait_shares(&[&first, &second], &two);
        let third = start();
        wait_shares(&[&first, &second, &third], &three);
        let mut expected = fill(&runtime, &cluster, "a", 4, &group);
        expected.extend(fill(&runtime, &cluster, "b", 2, &group));
        let of_group = |members: &[&Member]| -> Vec<(TopicPartition, String)> {
            let all = members.iter().flat_map(|m| m.values());
            all.filter(|(_, v)| v.starts_with(&group)).collect()
        };
        wait_until("every record was processed", LIMIT, || {
            of_group(&[&first, &second, &third]).len() >= expected.len()
        });
        let mut values: Vec<String> = of_group(&[&first, &second, &third])
            .into_iter()
            .map(|(_, v)| v)
            .collect();
        values.sort();
        assert!(
            values.iter().eq(expected.iter()),
            "each exactly once: nothing happened meanwhile"
        );

        // One leaves: at once others take over.
        third.close(&runtime);
        wait_shares(&[&first, &second], &two);
        // One stops polling, and is put out; it comes back when it polls again.
        second.polls(false);
        wait_shares(&[&first], &["a-0 a-1 a-2 a-3 b-0 b-1"]);
        second.polls(true);
        wait_shares(&[&first, &second], &two);
        // One dies.
        second.kill();
        wait_shares(&[&first], &["a-0 a-1 a-2 a-3 b-0 b-1"]);
        first.close(&runtime);
    }
    // A topic grows: the leader notices and shares out anew.
    let range = AssignmentStrategy::Range;
    let members = [0, 1].map(|_| Member::start(&runtime, with(&cluster, "growing", range), &["b"]));
    let [one, two] = &members;
    wait_shares(&[one, two], &["b-0", "b-1"]);
    let zookeeper = &cluster.zookeeper;
    let mut grow = Whose::Ours.command("kafka-topics");
    grow.args([
        "--zookeeper",
        zookeeper,
        "--alter",
        "--topic",
        "b",
        "--partitions",
        "4",
    ]);
    assert!(crate::support::program::run(grow, b"", LIMIT).status.success());
    wait_shares(&[one, two], &["b-0 b-1", "b-2 b-3"]);
    for member in members {
        member.close(&runtime);
    }
}

#[test]
fn our_members_share_on_a_genuine_broker() {
    need!(reference());
    sharing(Whose::Genuine);
}

#[test]
fn our_members_share_on_our_broker() {
    sharing(Whose::Ours);
}

/// A genuine member: the verifiable consumer, which prints what it is assigned and what it consumes.
struct Java {
    program: Program,
}

impl Java {
    fn start(cluster: &Cluster, dir: &std::path::Path, group: &str, class: &str) -> Java {
        let config = dir.join(format!("{group}.properties"));
        let text = format!("partition.assignment.strategy={class}\nheartbeat.interval.ms=300\n");
        std::fs::write(&config, text).unwrap();
        let mut command = Whose::Genuine.command("kafka-verifiable-consumer");
        command.args([
            "--broker-list",
            &cluster.brokers(),
            "--topic",
            "a",
            "--group-id",
            group,
        ]);
        command.args(["--session-timeout", "3000", "--verbose", "--consumer.config"]);
        command.arg(config);
        Java {
            program: Program::start(command),
        }
    }

    /// What the last line of that name says.
    fn last(&self, name: &str) -> Option<String> {
        let name = format!("\"name\":\"{name}\"");
        self.program
            .stdout()
            .into_iter()
            .rev()
            .find(|l| l.contains(&name))
    }

    fn owned(&self) -> BTreeSet<TopicPartition> {
        let lines = self.program.stdout();
        let last = lines
            .iter()
            .rev()
            .find(|l| l.contains("partitions_assigned") || l.contains("partitions_revoked"));
        let line = last.filter(|l| l.contains("partitions_assigned"));
        // ..."partition":2...
        let numbers = line.into_iter().flat_map(|l| l.split("\"partition\":").skip(1));
        numbers
            .map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                TopicPartition::new("a", digits.parse().unwrap())
            })
            .collect()
    }

    fn values(&self) -> Vec<String> {
        let lines = self.program.stdout();
        let data = lines.iter().filter(|l| l.contains("\"name\":\"record_data\""));
        data.filter_map(|l| Some(l.split("\"value\":\"").nth(1)?.split('"').next()?.to_owned()))
            .collect()
    }
}

/// A Java member and ours in one group.
fn mixed(whose: Whose) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_with(dir.path(), whose, QUICK);
    cluster.create("a", 4);
    let runtime = Runtime::new().unwrap();
    let package = "org.apache.kafka.clients.consumer";
    for (strategy, class) in [
        (AssignmentStrategy::Range, format!("{package}.RangeAssignor")),
        (
            AssignmentStrategy::RoundRobin,
            format!("{package}.RoundRobinAssignor"),
        ),
    ] {
        let group = format!("mixed-{}", strategy.name());
        let shares = |java: &Java, mine: &[&Member]| -> Vec<BTreeSet<TopicPartition>> {
            let ours = mine.iter().map(|m| m.owned());
            std::iter::once(java.owned()).chain(ours).collect()
        };
        let all: BTreeSet<TopicPartition> = (0..4).map(|p| TopicPartition::new("a", p)).collect();
        let agreed = |shares: &[BTreeSet<TopicPartition>], sizes: &[usize]| {
            let union: BTreeSet<TopicPartition> = shares.iter().flatten().cloned().collect();
            let mut found: Vec<usize> = shares.iter().map(BTreeSet::len).collect();
            found.sort_unstable();
            union == all && found == sizes
        };
        let mut java = Java::start(&cluster, dir.path(), &group, &class);
        wait_until("the Java member has all", LIMIT, || {
            agreed(&shares(&java, &[]), &[4])
        });
        // Java leads.
        let one = Member::start(&runtime, with(&cluster, &group, strategy), &["a"]);
        wait_until("two agree", LIMIT, || agreed(&shares(&java, &[&one]), &[2, 2]));
        let two = Member::start(&runtime, with(&cluster, &group, strategy), &["a"]);
        wait_until("three agree", LIMIT, || {
            agreed(&shares(&java, &[&one, &two]), &[1, 1, 2])
        });
        let mut expected = fill(&runtime, &cluster, "a", 4, &group);
        let processed = |java: &Java, mine: &[&Member]| -> BTreeSet<String> {
            let ours = mine.iter().flat_map(|m| m.values()).map(|(_, v)| v);
            let all = java.values().into_iter().chain(ours);
            all.filter(|v| v.starts_with(&group)).collect()
        };
        wait_until("every record was processed", LIMIT, || {
            processed(&java, &[&one, &two]) == expected
        });
        // It says so behind the records that it read at once.
        wait_until("the Java member has consumed some", LIMIT, || {
            java.last("records_consumed").is_some()
        });
        // The leader is killed: one of ours leads from then on.
        let before = processed(&java, &[&one, &two]);
        java.program.kill();
        wait_until("two agree", LIMIT, || {
            let shares = [one.owned(), two.owned()];
            agreed(&shares, &[2, 2])
        });
        let mut java = Java::start(&cluster, dir.path(), &group, &class);
        wait_until("three agree, ours leading", LIMIT, || {
            agreed(&shares(&java, &[&one, &two]), &[1, 1, 2])
        });
        expected.extend(fill(&runtime, &cluster, "a", 4, &format!("{group} more")));
        wait_until("every record was processed", LIMIT, || {
            let mut all = processed(&java, &[&one, &two]);
            all.extend(before.iter().cloned());
            all == expected
        });
        // One of ours is killed, one leaves.
        two.kill();
        wait_until("two agree", LIMIT, || agreed(&shares(&java, &[&one]), &[2, 2]));
        one.close(&runtime);
        wait_until("the Java member has all", LIMIT, || {
            agreed(&shares(&java, &[]), &[4])
        });
        java.program.kill();
    }
}

#[test]
fn java_and_rust_members_share_on_a_genuine_broker() {
    need!(reference());
    mixed(Whose::Genuine);
}

#[test]
fn java_and_rust_members_share_on_our_broker() {
    need!(reference());
    mixed(Whose::Ours);
}
