//! Who is in sync, and how far all agree: the leader's view of its followers. Pure: no lock, no clock,
//! no ZooKeeper.
//!
//! ```text
//!          wants_in / lagging                    installed
//!  settled ──────────────────> proposed (being written) ──────> settled with the new set
//!     ▲                            │ adopted (another write came first, leadership is still ours)
//!     └────────────────────────────┘
//!                                  └ fenced: another leader or epoch stands there; no more
//!                                    proposals until the controller speaks
//! ```
//!
//! While a proposal is being written nobody knows which set stands in ZooKeeper: until it is settled,
//! the high watermark waits for the members of both.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::BrokerId;
use crate::log::LogPosition;
use crate::message::Offset;
use crate::util::clock::Mono;

use super::follower::Follower;

/// The in-sync replicas of a partition that this broker leads.
#[derive(Clone, Debug)]
pub(super) struct Isr {
    me: BrokerId,
    members: Vec<BrokerId>,
    proposed: Option<Vec<BrokerId>>,
    zk_version: i32,
    fenced: bool,
    /// All assigned replicas but this broker's own.
    followers: BTreeMap<BrokerId, Follower>,
}

impl Isr {
    /// Of a partition that this broker begins to lead at `now`: nobody's position is known yet, and
    /// members get the whole of `replica.lag.time.max.ms` to show theirs.
    pub(super) fn new(
        me: BrokerId,
        members: Vec<BrokerId>,
        assigned: &[BrokerId],
        zk_version: i32,
        now: Mono,
    ) -> Isr {
        let others = assigned.iter().filter(|id| **id != me);
        Isr {
            me,
            followers: others.map(|id| (*id, Follower::unknown(now))).collect(),
            members,
            proposed: None,
            zk_version,
            fenced: false,
        }
    }

    /// The controller decided again, and this broker stays the leader: what is known of followers stays.
    pub(super) fn renew(
        &mut self,
        members: Vec<BrokerId>,
        assigned: &[BrokerId],
        zk_version: i32,
        now: Mono,
    ) {
        self.followers.retain(|id, _| assigned.contains(id));
        for id in assigned.iter().filter(|id| **id != self.me) {
            self.followers
                .entry(*id)
                .or_insert_with(|| Follower::unknown(now));
        }
        self.members = members;
        self.proposed = None;
        self.zk_version = zk_version;
        self.fenced = false;
    }

    /// The set in force.
    pub(super) fn members(&self) -> &[BrokerId] {
        &self.members
    }

    /// The version of the state znode on which the next proposal builds.
    pub(super) fn zk_version(&self) -> i32 {
        self.zk_version
    }

    /// What is being written.
    pub(super) fn proposed(&self) -> Option<&[BrokerId]> {
        self.proposed.as_deref()
    }

    /// Notes that `id` asked for messages from `at`, or got an error (`None`), when the leader's log
    /// ended at `leader_end`. Returns whether `id` is an assigned replica.
    pub(super) fn record_fetch(
        &mut self,
        id: BrokerId,
        at: Option<LogPosition>,
        leader_end: Offset,
        now: Mono,
    ) -> bool {
        match self.followers.get_mut(&id) {
            Some(follower) => {
                follower.fetched(at, leader_end, now);
                true
            }
            None => false,
        }
    }

    /// Up to where all that count have copied, given the leader's own end; `None` while that of some
    /// is unknown.
    pub(super) fn high_watermark(&self, leader_end: LogPosition) -> Option<LogPosition> {
        let mut least = leader_end;
        let proposed = self.proposed.iter().flatten();
        for id in self.members.iter().chain(proposed).filter(|id| **id != self.me) {
            let end = self.followers.get(id)?.end?;
            if end.offset < least.offset {
                least = end;
            }
        }
        Some(least)
    }

    /// The set with `id` in it, if `id` has what all members have (`high_watermark`) and is not in yet.
    pub(super) fn wants_in(&self, id: BrokerId, high_watermark: Offset) -> Option<Vec<BrokerId>> {
        if !self.may_propose() || self.members.contains(&id) {
            return None;
        }
        let end = self.followers.get(&id)?.end?;
        (end.offset >= high_watermark).then(|| self.members.iter().copied().chain([id]).collect())
    }

    /// The set without those members who have not caught up for longer than `max_lag`. Who has all
    /// that there is does not lag, however long nothing was fetched.
    pub(super) fn without_lagging(
        &self,
        leader_end: Offset,
        max_lag: Duration,
        now: Mono,
    ) -> Option<Vec<BrokerId>> {
        if !self.may_propose() {
            return None;
        }
        let keeps_up = |id: &BrokerId| {
            *id == self.me
                || self.followers.get(id).is_some_and(|f| {
                    f.end.is_some_and(|end| end.offset >= leader_end) || now.since(f.caught_up) <= max_lag
                })
        };
        let left: Vec<_> = self.members.iter().copied().filter(keeps_up).collect();
        (left.len() < self.members.len()).then_some(left)
    }

    fn may_propose(&self) -> bool {
        self.proposed.is_none() && !self.fenced
    }

    /// From now on `set` may be what stands in ZooKeeper.
    pub(super) fn propose(&mut self, set: Vec<BrokerId>) {
        self.proposed = Some(set);
    }

    /// The proposal stands in ZooKeeper.
    pub(super) fn installed(&mut self, zk_version: i32) {
        if let Some(set) = self.proposed.take() {
            self.members = set;
            self.zk_version = zk_version;
        }
    }

    /// Something else stands there, but under the same leadership: that is the set.
    pub(super) fn adopted(&mut self, members: Vec<BrokerId>, zk_version: i32) {
        self.proposed = None;
        self.members = members;
        self.zk_version = zk_version;
    }

    /// Another leadership stands there. The old set counts until the controller tells.
    pub(super) fn fenced(&mut self) {
        self.proposed = None;
        self.fenced = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: BrokerId = BrokerId(1);
    const A: BrokerId = BrokerId(2);
    const B: BrokerId = BrokerId(3);
    const LAG: Duration = Duration::from_millis(100);

    fn at(offset: Offset) -> LogPosition {
        LogPosition {
            offset,
            segment: 0,
            position: u64::try_from(offset).unwrap() * 10,
        }
    }

    fn ms(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn isr(members: &[BrokerId]) -> Isr {
        Isr::new(ME, members.to_vec(), &[ME, A, B], 7, ms(0))
    }

    #[test]
    fn the_high_watermark_is_the_least_end_of_the_members_and_waits_for_unknown_ones() {
        let mut isr = isr(&[ME, A]);
        assert_eq!(isr.high_watermark(at(10)), None);
        assert!(isr.record_fetch(A, Some(at(4)), 10, ms(1)));
        assert_eq!(isr.high_watermark(at(10)), Some(at(4)));
        isr.record_fetch(B, Some(at(2)), 10, ms(1));
        assert_eq!(isr.high_watermark(at(10)), Some(at(4)), "B is not a member");
        isr.record_fetch(A, None, 10, ms(2));
        assert_eq!(isr.high_watermark(at(10)), None);
        assert!(!isr.record_fetch(BrokerId(9), Some(at(1)), 10, ms(2)));
        assert_eq!(
            Isr::new(ME, vec![ME], &[ME], 0, ms(0)).high_watermark(at(10)),
            Some(at(10))
        );
    }

    #[test]
    fn offsets_far_apart_compare_as_64_bits() {
        let mut isr = isr(&[ME, A]);
        let far = at(1 << 40);
        isr.record_fetch(A, Some(at(1)), far.offset, ms(0));
        assert_eq!(isr.high_watermark(far), Some(at(1)));
    }

    #[test]
    fn a_follower_joins_once_it_has_what_all_members_have() {
        let mut isr = isr(&[ME]);
        isr.record_fetch(A, Some(at(9)), 10, ms(1));
        assert_eq!(isr.wants_in(A, 10), None);
        isr.record_fetch(A, Some(at(10)), 12, ms(1));
        assert_eq!(isr.wants_in(A, 10), Some(vec![ME, A]));
        assert_eq!(isr.wants_in(ME, 10), None);
    }

    #[test]
    fn while_a_proposal_is_written_the_high_watermark_waits_for_both_sets() {
        let mut isr = isr(&[ME]);
        isr.record_fetch(A, Some(at(10)), 10, ms(1));
        isr.propose(vec![ME, A]);
        assert_eq!(isr.high_watermark(at(15)), Some(at(10)));
        isr.record_fetch(B, Some(at(15)), 15, ms(1));
        assert_eq!(isr.wants_in(B, 10), None, "one proposal at a time");
        isr.installed(8);
        assert_eq!((isr.members(), isr.zk_version()), (&[ME, A][..], 8));
        assert_eq!(isr.wants_in(B, 10), Some(vec![ME, A, B]));

        isr.propose(vec![ME]);
        assert_eq!(isr.high_watermark(at(15)), Some(at(10)), "A may still be in it");
        isr.installed(9);
        assert_eq!(isr.high_watermark(at(15)), Some(at(15)));
    }

    #[test]
    fn a_member_leaves_for_time_alone_and_not_when_it_has_everything() {
        let mut isr = isr(&[ME, A, B]);
        assert_eq!(
            isr.without_lagging(10, LAG, ms(100)),
            None,
            "members get the whole time at first"
        );
        isr.record_fetch(A, Some(at(10)), 10, ms(50));
        isr.record_fetch(B, Some(at(3)), 10, ms(200));
        assert_eq!(isr.without_lagging(10, LAG, ms(201)), Some(vec![ME, A]));
        assert_eq!(isr.without_lagging(11, LAG, ms(201)), Some(vec![ME]));
        assert_eq!(isr.without_lagging(10, LAG, ms(9000)), Some(vec![ME, A]));
    }

    #[test]
    fn a_follower_one_fetch_behind_under_steady_writes_keeps_up() {
        let mut isr = isr(&[ME, A]);
        for round in 1..50 {
            let end = round * 10;
            isr.record_fetch(A, Some(at(end - 10)), end, ms(u64::try_from(round).unwrap() * 60));
            assert_eq!(
                isr.without_lagging(end + 5, LAG, ms(u64::try_from(round).unwrap() * 60)),
                None
            );
        }
    }

    #[test]
    fn another_write_under_the_same_leadership_is_adopted_and_a_foreign_one_ends_proposals() {
        let mut isr = isr(&[ME, A]);
        isr.propose(vec![ME]);
        isr.adopted(vec![ME, A, B], 12);
        assert_eq!((isr.members(), isr.zk_version()), (&[ME, A, B][..], 12));
        isr.record_fetch(A, Some(at(1)), 1, ms(0));
        isr.propose(vec![ME, A]);
        isr.fenced();
        assert_eq!(isr.without_lagging(10, LAG, ms(9000)), None);
        isr.renew(vec![ME, A], &[ME, A], 15, ms(9000));
        assert!(isr.without_lagging(10, LAG, ms(9001)).is_some());
        assert!(!isr.record_fetch(B, Some(at(1)), 1, ms(0)), "no longer assigned");
    }
}
