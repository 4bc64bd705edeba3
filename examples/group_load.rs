//! Groups and commits as many clients make them, seen from outside. `bench/groups` runs it against ours and
//! against the genuine broker.
//!
//!     group_load join   HOST:PORT MEMBERS GROUPS     groups one after the other, each of so many members
//!     group_load idle   HOST:PORT GROUPS             groups of one member, until standard input ends
//!     group_load commit HOST:PORT CONNECTIONS COMMITS IN_FLIGHT   of one offset each, so many a connection at once
//!     group_load fill   HOST:PORT GROUP OFFSETS      so many offsets of one group, 1,000 a commit
//!     group_load read   HOST:PORT GROUP PARTITION    until the group's offset can be had
//!
//! Prints `name value` lines. Members send a heartbeat every 10 ms while their group forms, so that it is the broker
//! that is waited for; every 3 s when it idles.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka::client::{Connection, ConnectionSettings, HostPort, groups};
use kafka::cluster::TopicPartition;
use kafka::protocol::ErrorCode;
use kafka::protocol::groups::{
    GroupAssignment, GroupProtocol, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use kafka::protocol::offset_commit::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitTopic,
};
use kafka::protocol::{Body, frame_request};
use kafka::util::codec::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Committed for; created by the benchmark.
const TOPIC: &str = "t";
const COMMIT_VERSION: i16 = 2;
const NO_GROUP: &str = "the broker coordinates no group";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match words[..] {
            ["join", broker, members, groups] => join(broker, members.parse()?, groups.parse()?).await,
            ["idle", broker, groups] => idle(broker, groups.parse()?).await,
            ["commit", broker, connections, commits, in_flight] => {
                commit(broker, connections.parse()?, commits.parse()?, in_flight.parse()?).await
            }
            ["fill", broker, group, offsets] => fill(broker, group, offsets.parse()?).await,
            ["read", broker, group, partition] => read(broker, group, partition.parse()?).await,
            _ => Err("group_load join | idle | commit | fill | read".into()),
        }
    })
}

async fn connect(broker: &str) -> Outcome<Connection> {
    let at = HostPort::parse_list(broker)?.remove(0);
    let settings = ConnectionSettings {
        client_id: "load".to_owned(),
        request_timeout: Duration::from_secs(120),
        ..ConnectionSettings::default()
    };
    Ok(Connection::connect(&at.host, at.port, settings).await?)
}

/// A member of a group from its first join on.
struct Member {
    connection: Connection,
    group: String,
    id: String,
    generation: i32,
    heartbeat: Duration,
}

impl Member {
    async fn new(broker: &str, group: &str, heartbeat: Duration) -> Outcome<Member> {
        Ok(Member {
            connection: connect(broker).await?,
            group: group.to_owned(),
            id: String::new(),
            generation: -1,
            heartbeat,
        })
    }

    /// Joins until it has a share; returns how many members there are if it is the leader.
    async fn share(&mut self) -> Outcome<usize> {
        loop {
            let request = JoinGroupRequest {
                group_id: self.group.clone(),
                session_timeout_ms: 30_000,
                member_id: self.id.clone(),
                protocol_type: "consumer".to_owned(),
                protocols: vec![GroupProtocol {
                    name: "range".to_owned(),
                    metadata: vec![0; 50].into(),
                }],
            };
            let joined = self.connection.call(&request).await?;
            match ErrorCode(joined.error) {
                ErrorCode::NONE => {}
                // Still loading, or not begun to.
                ErrorCode::NOT_COORDINATOR_FOR_GROUP | ErrorCode::GROUP_LOAD_IN_PROGRESS => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
                error => return Err(format!("join was answered with {error}").into()),
            }
            (self.id, self.generation) = (joined.member_id, joined.generation_id);
            let members = joined.members.len();
            let assignments = joined.members.into_iter().map(|m| GroupAssignment {
                member_id: m.member_id,
                assignment: vec![0; 50].into(),
            });
            let request = SyncGroupRequest {
                group_id: self.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                assignments: assignments.collect(),
            };
            let synced = self.connection.call(&request).await?;
            match ErrorCode(synced.error) {
                ErrorCode::NONE => return Ok(members),
                ErrorCode::REBALANCE_IN_PROGRESS => {}
                error => return Err(format!("sync was answered with {error}").into()),
            }
        }
    }

    /// Lives as a member, and tells each share that it gets, until told to end.
    async fn live(mut self, shared: impl Fn(i32, usize), mut end: watch::Receiver<bool>) -> Outcome<()> {
        let members = self.share().await?;
        shared(self.generation, members);
        loop {
            tokio::select! {
                _ = end.wait_for(|end| *end) => break,
                () = tokio::time::sleep(self.heartbeat) => {}
            }
            let request = HeartbeatRequest {
                group_id: self.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
            };
            match ErrorCode(self.connection.call(&request).await?.error) {
                ErrorCode::NONE => {}
                ErrorCode::REBALANCE_IN_PROGRESS => {
                    let members = self.share().await?;
                    shared(self.generation, members);
                }
                error => return Err(format!("heartbeat was answered with {error}").into()),
            }
        }
        let request = LeaveGroupRequest {
            group_id: self.group,
            member_id: self.id,
        };
        self.connection.call(&request).await?;
        Ok(())
    }
}

/// Waits until the broker coordinates this group, and has loaded what it knows of it.
async fn ready(broker: &str, group: &str) -> Outcome<()> {
    let connection = connect(broker).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let found = groups::find_coordinator(&connection, group).await?;
        if found.is_ok() {
            let partition = TopicPartition::new(TOPIC, 0);
            let offsets = groups::fetch_offsets(&connection, group, &[partition]).await?;
            if offsets.values().all(|o| o.error == ErrorCode::NONE) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(NO_GROUP.into())
}

async fn join(broker: &str, members: usize, groups: usize) -> Outcome<()> {
    let mut times = Vec::new();
    for number in 0..groups {
        let group = format!("join-{members}-{number}");
        ready(broker, &group).await?;
        let mut all = Vec::new();
        for _ in 0..members {
            all.push(Member::new(broker, &group, Duration::from_millis(10)).await?);
        }
        let (tell_end, end) = watch::channel(false);
        // Who has a share of which generation; the one that all have, as the leader says, ends it.
        let shares: Arc<std::sync::Mutex<BTreeMap<i32, (usize, usize)>>> = Arc::default();
        let whole = Arc::new(Notify::new());
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for member in all {
            let (shares, whole) = (shares.clone(), whole.clone());
            let shared = move |generation, leads: usize| {
                let mut shares = shares.lock().expect("no code panics while holding this lock");
                let (have, of) = shares.entry(generation).or_default();
                (*have, *of) = (*have + 1, leads.max(*of));
                if (*have, *of) == (members, members) {
                    whole.notify_one();
                }
            };
            tasks.spawn(member.live(shared, end.clone()));
        }
        tokio::select! {
            () = whole.notified() => {}
            ended = tasks.join_next() => return Err(format!("a member ended: {ended:?}").into()),
        }
        times.push(begin.elapsed());
        tell_end.send(true)?;
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
    }
    times.sort_unstable();
    println!("median_ms {:.3}", times[times.len() / 2].as_secs_f64() * 1000.0);
    Ok(())
}

async fn idle(broker: &str, groups: usize) -> Outcome<()> {
    ready(broker, "idle-0").await?;
    let (tell_end, end) = watch::channel(false);
    let shared = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..groups {
        let member = Member::new(broker, &format!("idle-{number}"), Duration::from_secs(3)).await?;
        let shared = shared.clone();
        let count = move |_, _| {
            shared.fetch_add(1, Ordering::Relaxed);
        };
        tasks.spawn(member.live(count, end.clone()));
    }
    while shared.load(Ordering::Relaxed) < groups {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            ended = tasks.join_next() => return Err(format!("a member ended: {ended:?}").into()),
        }
    }
    println!("joined {groups}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    tell_end.send(true)?;
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn commit(broker: &str, connections: usize, commits: usize, in_flight: usize) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    let mut all = Vec::new();
    for number in 0..connections {
        let group = format!("commit-{number}");
        ready(broker, &group).await?;
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        all.push((stream, group));
    }
    let begin = Instant::now();
    for (stream, group) in all {
        tasks.spawn(commit_on(stream, group, commits / connections, in_flight));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("seconds {seconds:.3}");
    println!("per_second {:.0}", commits as f64 / seconds);
    Ok(())
}

/// Sends what may be sent in one write, and takes what answers come: little of the machine is spent here.
async fn commit_on(mut stream: TcpStream, group: String, commits: usize, in_flight: usize) -> Outcome<()> {
    let (mut sent, mut answered, mut read) = (0, 0, BytesMut::new());
    while answered < commits {
        let mut frames = BytesMut::new();
        while sent < commits && sent - answered < in_flight {
            frames.extend_from_slice(&commit_request(&group, i64::try_from(sent)?));
            sent += 1;
        }
        stream.write_all(&frames).await?;
        if stream.read_buf(&mut read).await? == 0 {
            return Err("the broker closed the connection".into());
        }
        while let Some(size) = read.first_chunk::<4>() {
            let size = usize::try_from(i32::from_be_bytes(*size))?;
            if read.len() < 4 + size {
                break;
            }
            // Behind the size and the correlation id.
            let answer = read.split_to(4 + size).freeze().slice(8..);
            let answer = OffsetCommitResponse::decode(&mut Reader::new(answer), COMMIT_VERSION)?;
            let error = ErrorCode(answer.topics[0].partitions[0].error);
            if error != ErrorCode::NONE {
                return Err(format!("a commit was answered with {error}").into());
            }
            answered += 1;
        }
    }
    Ok(())
}

fn commit_request(group: &str, offset: i64) -> BytesMut {
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id: -1,
        member_id: String::new(),
        retention_time_ms: -1,
        topics: vec![OffsetCommitTopic {
            topic: TOPIC.to_owned(),
            partitions: vec![OffsetCommitPartition {
                partition: 0,
                offset,
                timestamp: -1,
                metadata: Some(String::new()),
            }],
        }],
    };
    frame_request(&request, COMMIT_VERSION, 0, Some("load"))
}

async fn committed(
    connection: &Connection,
    group: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Outcome<()> {
    let errors = groups::commit_offsets(connection, group, offsets).await?;
    match errors.into_values().find(|e| *e != ErrorCode::NONE) {
        Some(error) => Err(format!("a commit was answered with {error}").into()),
        None => Ok(()),
    }
}

async fn fill(broker: &str, group: &str, offsets: i32) -> Outcome<()> {
    ready(broker, group).await?;
    let connection = connect(broker).await?;
    let begin = Instant::now();
    for from in (0..offsets).step_by(1000) {
        let of = |partition: i32| (TopicPartition::new(TOPIC, partition), i64::from(partition));
        let part: BTreeMap<_, _> = (from..offsets.min(from + 1000)).map(of).collect();
        committed(&connection, group, &part).await?;
    }
    println!("seconds {:.3}", begin.elapsed().as_secs_f64());
    Ok(())
}

async fn read(broker: &str, group: &str, partition: i32) -> Outcome<()> {
    let connection = connect(broker).await?;
    let wanted = [TopicPartition::new(TOPIC, partition)];
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        let found = groups::fetch_offsets(&connection, group, &wanted).await?;
        let there = found.get(&wanted[0]);
        if there.is_some_and(|o| o.error == ErrorCode::NONE) {
            println!("offset {}", found[&wanted[0]].offset);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(NO_GROUP.into())
}
