//! Who is in sync, and how far all agree: the leader's view of its followers. Pure: no lock, no clock,
//! no ZooKeeper.
//!
//! ```text
//!          wants_in / lagging                    installed
//!  settled ──────────────────> proposed (being written) ──────> settled with the new set
//!     ▲                            │ adopted (another write came first, leadership is still ours)
//!     └────────────────────────────┘
//!                                  └ fenced: another leader or epoch stands there; no more
//!                                    proposals, and nothing is agreed on, until the controller speaks
//! ```
//!
//! While a proposal is being written nobody knows which set stands in ZooKeeper: until it is settled,
//! the high watermark waits for the members of both.
//!
//! Who joins must have all that may ever have been acknowledged: up to the high watermark, and up to
//! where this leadership began, for a leader learns only later how far the one before it had got
//! (KAFKA-7128). Whom a decision left out, as a broker that went or is about to go, must show that it is
//! there to stay: by a second fetch since, and not before [`SETTLING`] has passed. Else the last fetch of a
//! leaving broker takes it in again, and acks=-1 waits for it until it lags.
//!
//! Who joins does so by a write that names the other members, too, and a controller takes that for the leader's word that
//! they have everything, if they have not been started again since. So nobody joins while a member is overdue: it may have been
//! started again before the write, and may have lost what it had.
//!
//! A fetch carries no epoch. One that was asked in an earlier leadership of this broker says what the
//! follower has of the log as it was then. If that was cut since, fetches do not count until the follower
//! has been heard for [`SETTLING`]: by then the decision has reached it, and it compares anew.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::BrokerId;
use crate::log::LogPosition;
use crate::message::Offset;
use crate::util::clock::Mono;

use super::follower::Follower;

/// How long a decision may take at most to reach a broker that fetches.
pub const SETTLING: Duration = Duration::from_secs(2);

/// The in-sync replicas of a partition that this broker leads.
#[derive(Clone, Debug)]
pub struct Isr {
    me: BrokerId,
    members: Vec<BrokerId>,
    proposed: Option<Vec<BrokerId>>,
    zk_version: i32,
    fenced: bool,
    /// All assigned replicas but this broker's own.
    followers: BTreeMap<BrokerId, Follower>,
    /// Replicas that a decision left out.
    left_out: BTreeMap<BrokerId, LeftOut>,
    /// The log's end when this leadership began.
    began_at: Offset,
    /// Followers may speak of the log as it was in an earlier leadership.
    suspect: bool,
}

/// A replica that a decision left out.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    since: Mono,
    /// Fetches since.
    fetches: u32,
}

/// The beginning of a leadership.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    /// The in-sync set as decided.
    pub members: Vec<BrokerId>,
    /// All assigned replicas.
    pub assigned: &'a [BrokerId],
    /// The version of the state znode that holds the decision.
    pub zk_version: i32,
    /// The end of the leader's log.
    pub end: Offset,
    /// This broker has led before, and its log was cut since.
    pub suspect: bool,
    /// The present.
    pub now: Mono,
}

impl Isr {
    /// Of a partition that this broker begins to lead at `now`: nobody's position is known yet, and
    /// members get the whole of `replica.lag.time.max.ms` to show theirs.
    pub fn new(me: BrokerId, begin: Begin<'_>) -> Isr {
        let others = || begin.assigned.iter().copied().filter(|id| *id != me);
        let left_out = LeftOut {
            since: begin.now,
            fetches: 0,
        };
        Isr {
            me,
            followers: others().map(|id| (id, Follower::unknown(begin.now))).collect(),
            left_out: others()
                .filter(|id| !begin.members.contains(id))
                .map(|id| (id, left_out))
                .collect(),
            members: begin.members,
            proposed: None,
            zk_version: begin.zk_version,
            fenced: false,
            began_at: begin.end,
            suspect: begin.suspect,
        }
    }

    /// The controller decided again, and this broker stays the leader: what is known of followers stays.
    pub fn renew(&mut self, members: Vec<BrokerId>, assigned: &[BrokerId], zk_version: i32, now: Mono) {
        self.followers.retain(|id, _| assigned.contains(id));
        for id in assigned.iter().filter(|id| **id != self.me) {
            self.followers
                .entry(*id)
                .or_insert_with(|| Follower::unknown(now));
        }
        let before = self.members.iter().chain(self.proposed.iter().flatten());
        for id in before.filter(|id| !members.contains(id)) {
            let since = LeftOut {
                since: now,
                fetches: 0,
            };
            self.left_out.insert(*id, since);
        }
        self.left_out
            .retain(|id, _| !members.contains(id) && assigned.contains(id));
        self.members = members;
        self.proposed = None;
        self.zk_version = zk_version;
        self.fenced = false;
    }

    /// The set in force.
    pub fn members(&self) -> &[BrokerId] {
        &self.members
    }

    /// The version of the state znode on which the next proposal builds.
    pub fn zk_version(&self) -> i32 {
        self.zk_version
    }

    /// What is being written.
    pub fn proposed(&self) -> Option<&[BrokerId]> {
        self.proposed.as_deref()
    }

    /// Notes that `id` asked for messages from `at`, or got an error (`None`), when the leader's log
    /// ended at `leader_end`. Returns whether `id` is an assigned replica.
    pub fn record_fetch(
        &mut self,
        id: BrokerId,
        at: Option<LogPosition>,
        leader_end: Offset,
        high_watermark: Offset,
        now: Mono,
    ) -> bool {
        let Some(follower) = self.followers.get_mut(&id) else {
            return false;
        };
        let first = *follower.first.get_or_insert(now);
        let counts = !self.suspect || now.since(first) >= SETTLING;
        follower.fetched(at.filter(|_| counts), leader_end, now);
        follower.expected = now;
        follower.below = match at {
            Some(at) if at.offset >= high_watermark => 0,
            _ => follower.below.saturating_add(1),
        };
        if let Some(left_out) = self.left_out.get_mut(&id) {
            left_out.fetches = left_out.fetches.saturating_add(1);
        }
        true
    }

    /// `id`, which has just asked, may wait for so long before it asks again.
    pub fn expect(&mut self, id: BrokerId, wait: Duration, now: Mono) {
        if let Some(follower) = self.followers.get_mut(&id) {
            follower.expected = now + wait;
        }
    }

    /// The set without `id`, if that member has asked from below the high watermark twice in a row: it does
    /// not have what made it a member, as its disk forgot. Once is usual for one that compares.
    pub fn lost(&self, id: BrokerId) -> Option<Vec<BrokerId>> {
        let lost = self.followers.get(&id).is_some_and(|f| f.below > 1);
        if !lost || !self.may_propose() || !self.members.contains(&id) {
            return None;
        }
        Some(self.members.iter().copied().filter(|m| *m != id).collect())
    }

    /// Up to where all that count have copied, given the leader's own end; `None` while that of some
    /// is unknown, and when another leadership stands in ZooKeeper: its leader may lack what all here have.
    pub fn high_watermark(&self, leader_end: LogPosition) -> Option<LogPosition> {
        if self.fenced {
            return None;
        }
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

    /// The set with `id` in it, if `id` may join (see the module) and is not in yet.
    pub fn wants_in(&self, id: BrokerId, high_watermark: Offset, now: Mono) -> Option<Vec<BrokerId>> {
        if !self.may_propose() || self.members.contains(&id) {
            return None;
        }
        let stays = |left: &LeftOut| left.fetches > 1 && now.since(left.since) >= SETTLING;
        if !self.left_out.get(&id).is_none_or(stays) {
            return None;
        }
        let mut members = self.members.iter().filter_map(|id| self.followers.get(id));
        if members.any(|member| now.since(member.expected) > SETTLING) {
            return None;
        }
        let end = self.followers.get(&id)?.end?;
        let has_all = end.offset >= high_watermark.max(self.began_at);
        has_all.then(|| self.members.iter().copied().chain([id]).collect())
    }

    /// The set without those members who have not caught up for longer than `max_lag`. Who has all
    /// that there is does not lag, however long nothing was fetched.
    pub fn without_lagging(&self, leader_end: Offset, max_lag: Duration, now: Mono) -> Option<Vec<BrokerId>> {
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
    pub fn propose(&mut self, set: Vec<BrokerId>) {
        self.proposed = Some(set);
    }

    /// The proposal stands in ZooKeeper.
    pub fn installed(&mut self, zk_version: i32) {
        if let Some(set) = self.proposed.take() {
            self.left_out.retain(|id, _| !set.contains(id));
            self.members = set;
            self.zk_version = zk_version;
        }
    }

    /// The proposal was not written and will not be.
    pub fn withdrawn(&mut self) {
        self.proposed = None;
    }

    /// Something else stands there, but under the same leadership: that is the set.
    pub fn adopted(&mut self, members: Vec<BrokerId>, zk_version: i32) {
        self.proposed = None;
        self.members = members;
        self.zk_version = zk_version;
    }

    /// Another leadership stands there: no set counts until the controller tells.
    pub fn fenced(&mut self) {
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

    /// Of a leadership that began with an empty log at 0.
    fn isr(members: &[BrokerId]) -> Isr {
        isr_from(members, 0, false)
    }

    fn isr_from(members: &[BrokerId], end: Offset, suspect: bool) -> Isr {
        let begin = Begin {
            members: members.to_vec(),
            assigned: &[ME, A, B],
            zk_version: 7,
            end,
            suspect,
            now: ms(0),
        };
        Isr::new(ME, begin)
    }

    /// A moment at which whoever was left out in the beginning may be in again.
    fn later() -> Mono {
        Mono(SETTLING)
    }

    fn fetch_twice(isr: &mut Isr, id: BrokerId, offset: Offset, end: Offset) {
        for _ in 0..2 {
            assert!(isr.record_fetch(id, Some(at(offset)), end, 0, later()));
        }
    }

    #[test]
    fn the_high_watermark_is_the_least_end_of_the_members_and_waits_for_unknown_ones() {
        let mut isr = isr(&[ME, A]);
        assert_eq!(isr.high_watermark(at(10)), None);
        assert!(isr.record_fetch(A, Some(at(4)), 10, 0, ms(1)));
        assert_eq!(isr.high_watermark(at(10)), Some(at(4)));
        isr.record_fetch(B, Some(at(2)), 10, 0, ms(1));
        assert_eq!(isr.high_watermark(at(10)), Some(at(4)), "B is not a member");
        isr.record_fetch(A, None, 10, 0, ms(2));
        assert_eq!(isr.high_watermark(at(10)), None);
        assert!(!isr.record_fetch(BrokerId(9), Some(at(1)), 10, 0, ms(2)));
        assert_eq!(self::isr(&[ME]).high_watermark(at(10)), Some(at(10)));
    }

    #[test]
    fn offsets_far_apart_compare_as_64_bits() {
        let mut isr = isr(&[ME, A]);
        let far = at(1 << 40);
        isr.record_fetch(A, Some(at(1)), far.offset, 0, ms(0));
        assert_eq!(isr.high_watermark(far), Some(at(1)));
    }

    #[test]
    fn a_follower_joins_once_it_has_what_all_members_have() {
        let mut isr = isr(&[ME]);
        fetch_twice(&mut isr, A, 9, 10);
        assert_eq!(isr.wants_in(A, 10, later()), None);
        isr.record_fetch(A, Some(at(10)), 12, 0, later());
        assert_eq!(isr.wants_in(A, 10, later()), Some(vec![ME, A]));
        assert_eq!(isr.wants_in(ME, 10, later()), None);
    }

    #[test]
    fn who_joins_also_has_all_that_the_leader_had_when_it_began() {
        let mut isr = isr_from(&[ME], 12, false);
        fetch_twice(&mut isr, A, 11, 15);
        assert_eq!(
            isr.wants_in(A, 8, later()),
            None,
            "the last leader may have acknowledged 11"
        );
        isr.record_fetch(A, Some(at(12)), 15, 0, later());
        assert_eq!(isr.wants_in(A, 8, later()), Some(vec![ME, A]));
    }

    #[test]
    fn who_was_left_out_by_a_decision_joins_by_a_second_fetch_and_after_a_while() {
        let mut isr = isr(&[ME, A, B]);
        isr.propose(vec![ME, A, B]);
        isr.renew(vec![ME, B], &[ME, A, B], 8, ms(1000));
        let soon = ms(1000) + SETTLING;
        isr.record_fetch(A, Some(at(10)), 10, 0, soon);
        assert_eq!(isr.wants_in(A, 10, soon), None, "it may have been its last");
        isr.record_fetch(A, Some(at(10)), 10, 0, soon);
        assert_eq!(isr.wants_in(A, 10, ms(2999)), None, "it may be about to leave");
        assert_eq!(
            isr.wants_in(A, 10, soon),
            None,
            "B is overdue: it may have been started again"
        );
        isr.record_fetch(B, Some(at(8)), 10, 0, soon);
        assert_eq!(isr.wants_in(A, 10, soon), Some(vec![ME, B, A]));
        // Whoever left by its own lag may come at once.
        isr.propose(vec![ME]);
        isr.installed(9);
        isr.record_fetch(B, Some(at(10)), 10, 0, ms(1001));
        assert_eq!(isr.wants_in(B, 10, ms(1001)), Some(vec![ME, B]));
    }

    #[test]
    fn fetches_that_may_be_older_than_the_leadership_do_not_count() {
        let mut isr = isr_from(&[ME, A], 10, true);
        isr.record_fetch(A, Some(at(10)), 10, 0, ms(5000));
        isr.record_fetch(A, Some(at(10)), 10, 0, ms(6999));
        assert_eq!(isr.high_watermark(at(10)), None);
        isr.record_fetch(A, Some(at(10)), 10, 0, ms(7000));
        assert_eq!(isr.high_watermark(at(10)), Some(at(10)));
    }

    #[test]
    fn a_member_that_asks_from_below_the_high_watermark_again_has_lost_something() {
        let mut isr = isr(&[ME, A, B]);
        isr.record_fetch(A, Some(at(8)), 20, 10, ms(1));
        assert_eq!(isr.lost(A), None, "it compares");
        isr.record_fetch(A, Some(at(12)), 20, 10, ms(2));
        isr.record_fetch(A, Some(at(8)), 20, 10, ms(3));
        assert_eq!(isr.lost(A), None);
        isr.record_fetch(A, None, 20, 10, ms(4));
        assert_eq!(isr.lost(A), Some(vec![ME, B]));
        isr.propose(vec![ME, B]);
        assert_eq!(isr.lost(A), None);
        isr.installed(8);
        isr.record_fetch(A, Some(at(9)), 20, 10, ms(5));
        assert_eq!(isr.lost(A), None, "it is out");
    }

    #[test]
    fn while_a_proposal_is_written_the_high_watermark_waits_for_both_sets() {
        let mut isr = isr(&[ME]);
        fetch_twice(&mut isr, A, 10, 10);
        isr.propose(vec![ME, A]);
        assert_eq!(isr.high_watermark(at(15)), Some(at(10)));
        fetch_twice(&mut isr, B, 15, 15);
        assert_eq!(isr.wants_in(B, 10, later()), None, "one proposal at a time");
        isr.installed(8);
        assert_eq!((isr.members(), isr.zk_version()), (&[ME, A][..], 8));
        assert_eq!(isr.wants_in(B, 10, later()), Some(vec![ME, A, B]));

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
        isr.record_fetch(A, Some(at(10)), 10, 0, ms(50));
        isr.record_fetch(B, Some(at(3)), 10, 0, ms(200));
        assert_eq!(isr.without_lagging(10, LAG, ms(201)), Some(vec![ME, A]));
        assert_eq!(isr.without_lagging(11, LAG, ms(201)), Some(vec![ME]));
        assert_eq!(isr.without_lagging(10, LAG, ms(9000)), Some(vec![ME, A]));
    }

    #[test]
    fn a_follower_one_fetch_behind_under_steady_writes_keeps_up() {
        let mut isr = isr(&[ME, A]);
        for round in 1..50 {
            let end = round * 10;
            isr.record_fetch(
                A,
                Some(at(end - 10)),
                end,
                0,
                ms(u64::try_from(round).unwrap() * 60),
            );
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
        isr.record_fetch(A, Some(at(1)), 1, 0, ms(0));
        isr.propose(vec![ME, A]);
        isr.fenced();
        assert_eq!(isr.without_lagging(10, LAG, ms(9000)), None);
        isr.renew(vec![ME, A], &[ME, A], 15, ms(9000));
        assert!(isr.without_lagging(10, LAG, ms(9001)).is_some());
        assert!(
            !isr.record_fetch(B, Some(at(1)), 1, 0, ms(0)),
            "no longer assigned"
        );
    }
}
