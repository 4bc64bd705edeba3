//! The rebalance listener of the old consumer: told before partitions are given up, while they are still owned, and
//! before fetching begins, when the owner nodes are written; and what it commits is where the next owner begins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka::client::old_consumer::{
    Assignment, Error, Held, Listening, OffsetReset, OldConsumer, OldConsumerSettings, RebalanceListener,
    Stream, Subscription,
};
use kafka::cluster::TopicPartition;
use kafka::message::Codec;
use kafka::zookeeper::{Session, paths};
use tokio::runtime::Runtime;

use crate::consumer::send;
use crate::support::cluster::{Cluster, Whose, session};
use crate::support::program::text;
use crate::support::wait_until_async;

const LIMIT: Duration = Duration::from_secs(120);

/// What a listener was told, and what stood in the owner nodes then.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    /// Partitions that are about to be given up, with their positions.
    Releasing(BTreeMap<TopicPartition, Option<i64>>, Vec<String>),
    /// Everybody's threads.
    Starting(Assignment, Vec<String>),
}

#[derive(Clone)]
struct Notes {
    told: Arc<Mutex<Vec<Told>>>,
    /// How many more times to refuse to let go.
    refusals: Arc<Mutex<u32>>,
    nodes: Session,
}

impl Notes {
    async fn owners(&self) -> Vec<String> {
        let mut owners = vec![];
        for partition in 0..4 {
            let path = paths::consumer_owner("g", "t", partition);
            let node = self.nodes.get(&path).await.unwrap();
            owners.push(text(&node.and_then(|n| n.data).unwrap_or_default()));
        }
        owners
    }

    fn note(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }

    fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

impl RebalanceListener for Notes {
    fn before_releasing_partitions<'a>(&'a mut self, held: Held<'a>) -> Listening<'a> {
        Box::pin(async move {
            let positions = held.positions();
            let of = |p: TopicPartition| (p.clone(), positions.get(&p).copied());
            let partitions = held.partitions().into_iter().map(of).collect();
            let owners = self.owners().await;
            self.note(Told::Releasing(partitions, owners));
            {
                let mut refusals = self.refusals.lock().unwrap();
                if *refusals > 0 {
                    *refusals -= 1;
                    return Err(Error::Closed);
                }
            }
            held.commit().await
        })
    }

    fn before_starting_fetchers<'a>(
        &'a mut self,
        consumer_id: &'a str,
        assignment: &'a Assignment,
    ) -> Listening<'a> {
        Box::pin(async move {
            assert!(consumer_id.starts_with("g_"), "{consumer_id}");
            let owners = self.owners().await;
            self.note(Told::Starting(assignment.clone(), owners));
            Ok(())
        })
    }
}

async fn member(cluster: &Cluster, name: &str) -> (OldConsumer, Stream, Notes) {
    let notes = Notes {
        told: Arc::default(),
        refusals: Arc::default(),
        nodes: session(&cluster.zookeeper).await,
    };
    let settings = OldConsumerSettings {
        group_id: "g".into(),
        zookeeper_connect: cluster.zookeeper.clone(),
        consumer_id: Some(name.into()),
        auto_commit: false,
        reset: OffsetReset::Smallest,
        rebalance_backoff: Duration::from_millis(100),
        rebalance_max_retries: 1000,
        ..OldConsumerSettings::default()
    };
    let topics = Subscription::Topics(BTreeMap::from([("t".to_owned(), 1)]));
    let started = OldConsumer::start_with(settings, topics, notes.clone()).await;
    let (consumer, mut streams) = started.unwrap();
    (consumer, streams.remove(0), notes)
}

fn owned(names: [&str; 4]) -> Vec<String> {
    names.map(str::to_owned).into()
}

fn shares(threads: [&str; 4]) -> Assignment {
    let all = (0..).zip(threads);
    all.map(|(p, t)| (TopicPartition::new("t", p), t.to_owned()))
        .collect()
}

#[test]
fn a_listener_commits_while_it_still_owns_and_hears_who_owns_what_before_fetching() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Whose::Ours);
    cluster.create("t", 4);
    let none = owned([""; 4]);
    let (a, b) = ("g_a-0", "g_b-0");
    Runtime::new().unwrap().block_on(async {
        for p in 0..4 {
            let values: Vec<String> = (0..3).map(|i| format!("{p} {i}")).collect();
            send(&cluster, &TopicPartition::new("t", p), &values, Codec::None).await;
        }
        let (first, mut stream, notes) = member(&cluster, "a").await;
        let begun = [
            Told::Releasing(BTreeMap::new(), none.clone()),
            Told::Starting(shares([a; 4]), owned([a; 4])),
        ];
        assert_eq!(notes.all(), begun);
        for _ in 0..12 {
            stream.next().await.unwrap().unwrap();
        }
        notes.told.lock().unwrap().clear();
        // It does not let go at first: the try fails, and is repeated.
        *notes.refusals.lock().unwrap() = 1;

        let (second, mut others, theirs) = member(&cluster, "b").await;
        let split = shares([a, a, b, b]);
        wait_until_async("both share", LIMIT, || async {
            matches!(notes.all().last(), Some(Told::Starting(s, _)) if *s == split)
        })
        .await;
        let all = notes.all();
        let held: BTreeMap<_, _> = (0..4).map(|p| (TopicPartition::new("t", p), Some(3))).collect();
        let releasing = Told::Releasing(held, owned([a; 4]));
        assert_eq!(
            all[..2],
            [releasing.clone(), releasing],
            "once more after it refused"
        );
        let Some(Told::Starting(_, owners)) = all.last() else {
            panic!("{all:?}");
        };
        assert_eq!(owners[..2], owned([a; 4])[..2]);
        let Some(Told::Starting(shared, owners)) = theirs.all().last().cloned() else {
            panic!("{:?}", theirs.all());
        };
        assert_eq!((shared, &owners[2..]), (split, &owned([b; 4])[2..]));

        // Nothing but the listener committed: the next owner goes on behind what was handed out.
        let more = TopicPartition::new("t", 3);
        send(&cluster, &more, &["more".to_owned()], Codec::None).await;
        let next = others.next().await.unwrap().unwrap();
        assert_eq!((next.partition, next.message.offset), (3, 3));

        // Who leaves by itself tells its listener nothing, as in 0.9; who stays takes over, and what was not
        // committed comes again.
        let told = theirs.all().len();
        second.close().await;
        assert_eq!(theirs.all().len(), told);
        let again = stream.next().await.unwrap().unwrap();
        assert_eq!((again.partition, again.message.offset), (3, 3));
        assert!(matches!(notes.all().last(), Some(Told::Starting(s, _)) if *s == shares([a; 4])));
        first.close().await;
    });
}
