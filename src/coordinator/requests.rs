//! What clients may ask of the coordinator, one function each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::coordinator::{Cell, GroupCoordinator, Held};
use super::effect::Joined;
use super::error::{Error, Result, Unstored};
use super::group::Description;
use super::offsets::{Committed, expiry};
use super::rebalance::{Join, Sync};
use super::shard::Phase;
use super::store::{self, Commitment};
use crate::message::Offset;
use crate::replica::{LocalAppend, Term};
use crate::util::clock::WallMs;

/// An OffsetCommit of version 1 or later.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// Empty for who only keeps offsets here.
    pub member_id: String,
    /// Negative for who only keeps offsets here.
    pub generation: i32,
    /// How long to keep; `None` leaves it to the broker.
    pub retention: Option<Duration>,
    /// What.
    pub offsets: Vec<CommitOffset>,
}

/// One partition's offset in a commit.
#[derive(Clone, Debug)]
pub struct CommitOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next message to read.
    pub offset: Offset,
    /// Kept beside it.
    pub metadata: Option<String>,
    /// When the client says that it committed; `None` for now.
    pub timestamp: Option<WallMs>,
}

/// The answer to ListGroups.
#[derive(Clone, Debug, Default)]
pub struct GroupList {
    /// Whether more may come to light, as partitions are being read.
    pub incomplete: bool,
    /// Name and type, in the order of the names.
    pub groups: Vec<(Arc<str>, String)>,
}

/// A commit that is done, or waits for replicas.
enum Begun {
    Done(Result<()>),
    Waits(oneshot::Receiver<Result<()>>),
}

impl GroupCoordinator {
    /// JoinGroup. Waits until the group has rebalanced. `None` if the member has sent another join
    /// meanwhile, or was put out: then there is no answer.
    pub async fn join_group(self: &Arc<Self>, join: Join) -> Option<Result<Joined>> {
        let active = self.active.load(Ordering::SeqCst);
        if active && join.group.is_empty() {
            return Some(Err(Error::InvalidGroupId));
        }
        let cell = match self.cell_for(&join.group) {
            Ok(cell) => cell,
            Err(e) => return Some(Err(e)),
        };
        let answer = self.on(&cell, |held, fx| {
            let (ticket, answer) = self.wait_for_join(held);
            held.shard.join(self.clock.now(), join, ticket, fx);
            answer
        });
        answer.await.ok()
    }

    /// SyncGroup. Waits until the leader has shared out. `None` as for
    /// [`join_group`](Self::join_group).
    pub async fn sync_group(self: &Arc<Self>, sync: Sync) -> Option<Result<Bytes>> {
        let cell = match self.cell_for(&sync.group) {
            Ok(cell) => cell,
            Err(e) => return Some(Err(e)),
        };
        let answer = self.on(&cell, |held, fx| {
            let (ticket, answer) = self.wait_for_sync(held);
            held.shard.sync(self.clock.now(), sync, ticket, fx);
            answer
        });
        answer.await.ok()
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// What the member has to know.
    pub fn heartbeat(self: &Arc<Self>, group: &str, member_id: &str, generation: i32) -> Result<()> {
        let cell = self.cell_for(group)?;
        self.on(&cell, |held, _| {
            held.shard
                .heartbeat(self.clock.now(), group, member_id, generation)
        })
    }

    /// LeaveGroup.
    ///
    /// # Errors
    /// [`Error::UnknownMember`] and those of the coordinator itself.
    pub fn leave_group(self: &Arc<Self>, group: &str, member_id: &str) -> Result<()> {
        let cell = self.cell_for(group)?;
        self.on(&cell, |held, fx| {
            held.shard.leave(self.clock.now(), group, member_id, fx)
        })
    }

    /// OffsetCommit. Answers in the order of the offsets when they are stored; each has its own outcome,
    /// as one with too long a metadata does not keep the others from being stored.
    pub async fn commit_offsets(self: &Arc<Self>, commit: Commit) -> Vec<Result<()>> {
        let now = self.clock.wall();
        let retention = commit.retention.unwrap_or(self.settings.retention);
        // Until there is a common outcome, what each has on its own.
        let alone = |o: &CommitOffset| match self.fits(o) {
            true => Ok(()),
            false => Err(Error::MetadataTooLarge),
        };
        let mut outcomes: Vec<Result<()>> = commit.offsets.iter().map(alone).collect();
        let (group, member, generation) = (commit.group, commit.member_id, commit.generation);
        let commitment = |o: CommitOffset| Commitment {
            topic: o.topic,
            partition: o.partition,
            committed: Committed {
                offset: o.offset,
                metadata: o.metadata.unwrap_or_default().into(),
                at: now,
                expires: expiry(now, o.timestamp, retention),
            },
        };
        let taken = commit.offsets.into_iter().zip(&outcomes);
        let taken = taken.filter_map(|(o, fits)| fits.is_ok().then(|| commitment(o)));
        let taken: Vec<Commitment> = taken.collect();
        let begun = self.cell_for(&group).map(|cell| {
            self.on(&cell, |held, _| {
                match held.shard.may_commit(&group, &member, generation) {
                    Ok(()) => Ok(self.begin_commit(&cell, held, &group, taken)),
                    refused => Err(refused),
                }
            })
        });
        let (refused, stored) = match begun {
            Err(e) => (true, Err(e)),
            Ok(Err(refused)) => (true, refused),
            Ok(Ok(Begun::Done(outcome))) => (false, outcome),
            // A runtime that goes away answers nobody.
            Ok(Ok(Begun::Waits(answer))) => (false, answer.await.unwrap_or(Err(Error::NotAvailable))),
        };
        for outcome in outcomes.iter_mut().filter(|fits| refused || fits.is_ok()) {
            *outcome = stored;
        }
        outcomes
    }

    /// Whether the metadata is short enough, in characters as Java counts them.
    fn fits(&self, offset: &CommitOffset) -> bool {
        let most = self.settings.metadata_max;
        let metadata = offset.metadata.as_deref().unwrap_or_default();
        metadata.len() <= most || metadata.encode_utf16().count() <= most
    }

    fn begin_commit(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        group: &str,
        taken: Vec<Commitment>,
    ) -> Begun {
        let Phase::Here(term) = held.shard.phase() else {
            return Begun::Done(Err(Error::NotCoordinator));
        };
        if taken.is_empty() {
            return Begun::Done(Ok(()));
        }
        let set = store::commitments(group, &taken);
        let append = match self
            .replicas
            .append_local(self.settings.commit_acks, &cell.id, set)
        {
            Ok(append) => append,
            Err(e) => return Begun::Done(Err(Unstored::from(&e).into())),
        };
        match append.outcome() {
            Some(Ok(appended)) => {
                put(held, group, appended.first, taken);
                Begun::Done(Ok(()))
            }
            Some(Err(e)) => Begun::Done(Err(Unstored::from(&e).into())),
            None => {
                held.shard.offsets.begin(group);
                let (done, answer) = oneshot::channel();
                let (me, cell, group) = (self.clone(), cell.clone(), group.to_owned());
                // A task of its own: the commit counts although its client may go away.
                tokio::spawn(async move {
                    let outcome = me.end_commit(&cell, term, &group, append, taken).await;
                    let _ = done.send(outcome);
                });
                Begun::Waits(answer)
            }
        }
    }

    async fn end_commit(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        term: Term,
        group: &str,
        append: LocalAppend,
        taken: Vec<Commitment>,
    ) -> Result<()> {
        let outcome = self
            .replicas
            .replicated(append, self.settings.commit_timeout)
            .await;
        self.on(cell, |held, _| {
            // A later leadership of this broker has read the record, or will.
            let same = held.shard.term() == Some(term);
            if let (Ok(appended), true) = (&outcome, same) {
                put(held, group, appended.first, taken);
            }
            if same {
                held.shard.offsets.settled(group);
            }
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(e) => Err(Unstored::from(&e).into()),
        }
    }

    /// OffsetFetch: what the group committed for each of these partitions.
    ///
    /// # Errors
    /// Those of the coordinator itself.
    pub fn fetch_offsets<'a>(
        &self,
        group: &str,
        wanted: impl Iterator<Item = (&'a str, i32)>,
    ) -> Result<Vec<Option<Committed>>> {
        let cell = self.cell_for(group)?;
        let held = cell.lock();
        held.shard.gate()?;
        Ok(wanted
            .map(|(topic, partition)| held.shard.offsets.get(group, topic, partition).cloned())
            .collect())
    }

    /// OffsetFetch without partitions: all that the group committed, by topic and partition.
    ///
    /// # Errors
    /// Those of the coordinator itself.
    pub fn fetch_all_offsets(&self, group: &str) -> Result<Vec<(Arc<str>, i32, Committed)>> {
        let cell = self.cell_for(group)?;
        let held = cell.lock();
        held.shard.gate()?;
        let all = held.shard.offsets.of_group(group);
        Ok(all
            .map(|(topic, partition, committed)| (topic.clone(), partition, committed.clone()))
            .collect())
    }

    /// ListGroups: the groups that are here and have members.
    ///
    /// # Errors
    /// [`Error::NotAvailable`]
    pub fn list_groups(&self) -> Result<GroupList> {
        if !self.active.load(Ordering::SeqCst) {
            return Err(Error::NotAvailable);
        }
        let mut list = GroupList::default();
        for cell in self.all_cells() {
            let held = cell.lock();
            list.incomplete |= matches!(held.shard.phase(), Phase::Loading(_));
            let here = held.shard.list();
            list.groups
                .extend(here.map(|(id, kind)| (id.clone(), kind.to_owned())));
        }
        list.groups.sort();
        Ok(list)
    }

    /// DescribeGroups, for one group.
    ///
    /// # Errors
    /// Those of the coordinator itself.
    pub fn describe_group(&self, group: &str) -> Result<Description> {
        self.cell_for(group)?.lock().shard.describe(group)
    }
}

fn put(held: &mut Held, group: &str, first: Offset, taken: Vec<Commitment>) {
    for (c, record) in taken.into_iter().zip(first..) {
        held.shard
            .offsets
            .put(group, &c.topic, c.partition, record, c.committed);
    }
}
