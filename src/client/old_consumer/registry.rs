//! The group's znodes: reading the view, claiming and releasing partitions, storing offsets. Each
//! function is one step; who calls it when is the member's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ::log::debug;

use super::group::View;
use super::{Error, Result};
use crate::client::metadata::HostPort;
use crate::client::registered;
use crate::cluster::TopicPartition;
use crate::message::Offset;
use crate::zookeeper::znodes::consumer::{self, Registration, decode_offset, encode_offset};
use crate::zookeeper::znodes::topic;
use crate::zookeeper::{self, CreateMode, Session, Watch, paths};

/// Where the live brokers listen for clients.
pub(super) async fn live_brokers(session: &Session) -> Result<Vec<HostPort>> {
    let brokers = registered::brokers(session).await?;
    if brokers.is_empty() {
        return Err(Error::NoBrokers);
    }
    Ok(brokers)
}

/// Watches by path, at most one for each, so that reading again and again leaves no heap of them.
pub(super) struct Watches {
    armed: HashMap<String, ()>,
    fired: tokio::task::JoinSet<String>,
}

impl Watches {
    pub(super) fn new() -> Watches {
        Watches {
            armed: HashMap::new(),
            fired: tokio::task::JoinSet::new(),
        }
    }

    fn is_armed(&self, path: &str) -> bool {
        self.armed.contains_key(path)
    }

    fn arm(&mut self, path: &str, watch: Watch) {
        let path = path.to_owned();
        self.armed.insert(path.clone(), ());
        self.fired.spawn(async move {
            watch.fired().await;
            path
        });
    }

    /// Returns the next path whose watch fires.
    pub(super) async fn next(&mut self) -> String {
        loop {
            match self.fired.join_next().await {
                Some(Ok(path)) => {
                    self.armed.remove(&path);
                    return path;
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes note of what has fired meanwhile.
    pub(super) fn settle(&mut self) {
        while let Some(Ok(path)) = self.fired.try_join_next() {
            self.armed.remove(&path);
        }
    }

    /// The children of `path`; their next change will be told.
    pub(super) async fn children(&mut self, session: &Session, path: &str) -> Result<Vec<String>> {
        if self.is_armed(path) {
            let children = session.children(path).await?;
            return Ok(children.map(|(c, _)| c).unwrap_or_default());
        }
        let (children, watch) = session.children_watched(path).await?;
        self.arm(path, watch);
        Ok(children.unwrap_or_default())
    }

    /// The data of `path`; its next change will be told.
    pub(super) async fn data(&mut self, session: &Session, path: &str) -> Result<Option<bytes::Bytes>> {
        if self.is_armed(path) {
            return Ok(session.get(path).await?.and_then(|n| n.data));
        }
        let (node, watch) = session.get_watched(path).await?;
        self.arm(path, watch);
        Ok(node.and_then(|n| n.data))
    }
}

/// Reads what `me`, a member of `group`, needs to know, and leaves the watches of a member: on the
/// members, on the topics' partitions, and on the list of topics if a pattern wants it.
pub(super) async fn read_view(
    session: &Session,
    watches: &mut Watches,
    group: &str,
    me: &str,
    exclude_internal: bool,
) -> Result<View> {
    let mut view = View::default();
    for id in watches.children(session, &paths::consumer_ids(group)).await? {
        let path = paths::consumer_id(group, &id);
        // A member that leaves at this moment is told by the watch on its parent.
        let Some(data) = session.get(&path).await?.and_then(|n| n.data) else {
            continue;
        };
        let registration = Registration::decode(&data).map_err(|source| Error::Znode { path, source })?;
        view.members.insert(id, registration);
    }
    let by_pattern = |r: &Registration| r.pattern != consumer::Pattern::Static;
    if view.members.get(me).is_some_and(by_pattern) {
        let topics = watches.children(session, paths::BROKER_TOPICS).await?;
        view.topics = topics.into_iter().collect();
    } else if view.members.values().any(by_pattern) {
        let topics = session.children(paths::BROKER_TOPICS).await?;
        view.topics = topics.map(|(t, _)| t).unwrap_or_default().into_iter().collect();
    }
    let mine = view.topics_of(me, exclude_internal);
    for name in view.wanted_topics(exclude_internal) {
        let path = paths::topic(&name);
        let data = if mine.contains(&name) {
            watches.data(session, &path).await?
        } else {
            session.get(&path).await?.and_then(|n| n.data)
        };
        let Some(data) = data else {
            debug!("topic {name} does not exist");
            continue;
        };
        let assignment = topic::decode(&data).map_err(|source| Error::Znode { path, source })?;
        view.partitions.insert(name, assignment.into_keys().collect());
    }
    Ok(view)
}

/// Writes the owner node of a partition.
///
/// Returns false if somebody else's is there. One with exactly this thread id counts as ours.
pub(super) async fn claim(
    session: &Session,
    watches: &mut Watches,
    group: &str,
    partition: &TopicPartition,
    thread_id: &str,
) -> Result<bool> {
    let path = paths::consumer_owner(group, &partition.topic, partition.partition);
    let made = session
        .create_recursive(&path, Some(thread_id.as_bytes()), CreateMode::Ephemeral)
        .await;
    match made {
        Ok(_) => Ok(true),
        Err(zookeeper::Error::NodeExists) => {
            // Its end is the moment to try again.
            let owner = watches.data(session, &path).await?;
            debug!("{partition} is still owned by {owner:?}");
            Ok(owner.is_some_and(|o| *o == *thread_id.as_bytes()))
        }
        Err(e) => Err(e.into()),
    }
}

/// Removes the owner node of a partition; it need not be there.
pub(super) async fn release(session: &Session, group: &str, partition: &TopicPartition) -> Result<()> {
    let path = paths::consumer_owner(group, &partition.topic, partition.partition);
    match session.delete(&path, -1).await {
        Ok(()) | Err(zookeeper::Error::NoNode) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// The offset stored for a partition.
pub(super) async fn stored_offset(
    session: &Session,
    group: &str,
    partition: &TopicPartition,
) -> Result<Option<Offset>> {
    let path = paths::consumer_offset(group, &partition.topic, partition.partition);
    match session.get(&path).await?.and_then(|n| n.data) {
        // A genuine member that did not get to know its position may store -1.
        Some(data) => decode_offset(&data)
            .map(|offset| Some(offset).filter(|o| *o >= 0))
            .map_err(|source| Error::Znode { path, source }),
        None => Ok(None),
    }
}

/// The ids of the threads that a group's members have for each topic, as somebody sees them who is no
/// member; none if the group has no members.
///
/// # Errors
/// ZooKeeper's, and [`Error::Znode`] if a registration cannot be read.
pub async fn threads_of_group(session: &Session, group: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let view = read_view(session, &mut Watches::new(), group, "", false).await?;
    let threads = view.group(false).threads.into_iter();
    Ok(threads
        .map(|(topic, ids)| (topic, ids.into_iter().collect()))
        .collect())
}

/// Stores offsets, those that differ from `stored`, and brings `stored` up to date.
pub(super) async fn store_offsets(
    session: &Session,
    group: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
    stored: &mut HashMap<TopicPartition, Offset>,
) -> Result<()> {
    for (partition, offset) in offsets {
        if stored.get(partition) == Some(offset) {
            continue;
        }
        let path = paths::consumer_offset(group, &partition.topic, partition.partition);
        session.put(&path, encode_offset(*offset).as_bytes()).await?;
        stored.insert(partition.clone(), *offset);
        debug!("Committed offset {offset} for topic {partition}");
    }
    Ok(())
}
