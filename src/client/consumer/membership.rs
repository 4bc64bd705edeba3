//! This consumer's place in its group: who coordinates it, joining, the leader's duty, heartbeats and
//! leaving. A core: what it wants to be asked comes out of [`Membership::due`], answers go in, time is an
//! argument. Does not know what is assigned to whom.
//!
//! ```text
//!            rejoin, prepared                   leader: led
//!   Idle ─────────────────────▶ Joining ──▶ Leading ──▶ Due ──▶ Syncing ──▶ Assigned
//!    ▲                             │            follower ▲│         │           │
//!    │◀────────── refused ─────────┴─────────────────────┴┴─────────┘           │
//!    └────────────────────────────────── adopted ──────────────────────────────┘
//! ```
//!
//! Before a join the user gives up what he has (*prepared*); that is asked for once, however often the
//! join is refused. Answers carry the number of the try they belong to; those of an earlier one are
//! dropped.

use std::time::Duration;

use ::log::{info, warn};
use bytes::Bytes;

use super::error::{Error, Result};
use super::settings::AssignmentStrategy;
use crate::client::connection;
use crate::client::metadata::HostPort;
use crate::protocol::ErrorCode;
use crate::protocol::groups::{
    ErrorOnlyResponse, GroupAssignment, GroupCoordinatorRequest, GroupCoordinatorResponse, GroupProtocol,
    HeartbeatRequest, JoinGroupMember, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.AbstractCoordinator";

/// The settings of the same names, with the group.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) group: String,
    pub(super) session_timeout: Duration,
    pub(super) heartbeat_interval: Duration,
    pub(super) retry_backoff: Duration,
}

/// A request to be sent; all but the first go to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To any broker.
    Coordinator(GroupCoordinatorRequest),
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
}

/// Which try an answer belongs to.
pub(super) type Try = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Coordinator {
    Unknown { ask_at: Mono },
    Asked,
    At(HostPort),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    Joining,
    /// This member leads and has to assign.
    Leading(Vec<JoinGroupMember>),
    /// The sync is to be sent, the leader's with everybody's share.
    Due(Vec<GroupAssignment>),
    Syncing,
    /// The share has come and waits to be taken.
    Assigned(Bytes),
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Membership {
    rules: Rules,
    coordinator: Coordinator,
    stage: Stage,
    tries: Try,
    /// -1 before the first join and after leaving.
    generation: i32,
    /// Empty when the coordinator is to make one up.
    member_id: String,
    strategy: Option<AssignmentStrategy>,
    leads: bool,
    /// The group must be joined anew.
    rejoin: bool,
    /// And once more after that: something has changed since the join was sent.
    again: bool,
    prepared: bool,
    join_at: Mono,
    beat_at: Mono,
    /// A heartbeat's answer is due.
    beating: bool,
    /// When the coordinator was last known to count this member in.
    alive: Mono,
}

impl Membership {
    pub(super) fn new(rules: Rules) -> Membership {
        Membership {
            rules,
            coordinator: Coordinator::Unknown {
                ask_at: Mono::default(),
            },
            stage: Stage::Idle,
            tries: 0,
            generation: -1,
            member_id: String::new(),
            strategy: None,
            leads: false,
            rejoin: true,
            again: false,
            prepared: false,
            join_at: Mono::default(),
            beat_at: Mono::default(),
            beating: false,
            alive: Mono::default(),
        }
    }

    /// Where the coordinator is, as far as is known.
    pub(super) fn coordinator(&self) -> Option<&HostPort> {
        match &self.coordinator {
            Coordinator::At(at) => Some(at),
            _ => None,
        }
    }

    /// The generation and member id of commits.
    pub(super) fn identity(&self) -> (i32, &str) {
        (self.generation, &self.member_id)
    }

    /// The try that requests belong to from now on.
    pub(super) fn current_try(&self) -> Try {
        self.tries
    }

    /// Whether this member led the generation it is in.
    pub(super) fn leads(&self) -> bool {
        self.leads && !self.rejoin
    }

    /// Whether the member is in the group and has its share.
    pub(super) fn is_stable(&self) -> bool {
        !self.rejoin
    }

    /// Whether what is owned must be given up before the next join.
    pub(super) fn needs_preparation(&self) -> bool {
        self.rejoin && !self.prepared
    }

    /// What was owned is given up.
    pub(super) fn prepared(&mut self) {
        self.prepared = true;
    }

    /// The group must be joined anew: the subscription or the partitions have changed.
    pub(super) fn request_rejoin(&mut self) {
        if self.stage == Stage::Idle {
            self.rejoin = true;
        } else {
            self.again = true;
        }
    }

    /// A commit of that try was refused since the group has moved on.
    pub(super) fn moved_on(&mut self, of: Try) {
        if of == self.tries && self.stage == Stage::Idle {
            self.rejoin = true;
        }
    }

    /// The coordinator is not there, or is another one.
    pub(super) fn coordinator_lost(&mut self, now: Mono) {
        if let Coordinator::At(at) = &self.coordinator {
            info!(target: LOGGER, "Marking the coordinator {at} dead.");
            self.coordinator = Coordinator::Unknown { ask_at: now };
        }
    }

    /// The next request to send, if one is due. `coordinator`: whether the coordinator is needed for
    /// anything. `join`: the protocols to join with, if the group may be joined now.
    pub(super) fn due(
        &mut self,
        now: Mono,
        coordinator: bool,
        join: Option<&dyn Fn() -> Vec<GroupProtocol>>,
    ) -> Option<Ask> {
        match self.coordinator {
            Coordinator::Unknown { ask_at } if coordinator && ask_at <= now => {
                self.coordinator = Coordinator::Asked;
                return Some(Ask::Coordinator(GroupCoordinatorRequest {
                    group_id: self.rules.group.clone(),
                }));
            }
            Coordinator::At(_) => {}
            Coordinator::Unknown { .. } | Coordinator::Asked => return None,
        }
        if self.session_is_over(now) {
            self.coordinator_lost(now);
            self.beating = false;
            self.alive = now;
            return self.due(now, coordinator, join);
        }
        let beats = self.beats();
        match (&mut self.stage, join) {
            (Stage::Idle, Some(protocols)) if self.rejoin && self.prepared && self.join_at <= now => {
                self.tries += 1;
                self.stage = Stage::Joining;
                self.again = false;
                Some(Ask::Join(JoinGroupRequest {
                    group_id: self.rules.group.clone(),
                    session_timeout_ms: millis(self.rules.session_timeout),
                    member_id: self.member_id.clone(),
                    protocol_type: super::protocol::PROTOCOL_TYPE.to_owned(),
                    protocols: protocols(),
                }))
            }
            (Stage::Due(assignments), _) => {
                let assignments = std::mem::take(assignments);
                self.stage = Stage::Syncing;
                Some(Ask::Sync(SyncGroupRequest {
                    group_id: self.rules.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                    assignments,
                }))
            }
            (Stage::Idle, _) if beats && self.beat_at <= now => {
                self.beating = true;
                self.beat_at = now + self.rules.heartbeat_interval;
                Some(Ask::Heartbeat(HeartbeatRequest {
                    group_id: self.rules.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member_id.clone(),
                }))
            }
            _ => None,
        }
    }

    fn beats(&self) -> bool {
        !self.rejoin && self.generation > 0 && !self.beating
    }

    /// No heartbeat was answered well for a whole session.
    fn session_is_over(&self, now: Mono) -> bool {
        !self.rejoin && self.beating && now.since(self.alive) > self.rules.session_timeout
    }

    /// When to look at [`Membership::due`] again, if nothing comes before.
    pub(super) fn deadline(&self, coordinator: bool, join: bool) -> Option<Mono> {
        match self.coordinator {
            Coordinator::Unknown { ask_at } if coordinator => Some(ask_at),
            Coordinator::Unknown { .. } | Coordinator::Asked => None,
            Coordinator::At(_) => match self.stage {
                Stage::Idle if self.rejoin => (join && self.prepared).then_some(self.join_at),
                Stage::Idle if self.beating => {
                    Some(self.alive + self.rules.session_timeout + Duration::from_millis(1))
                }
                Stage::Idle => (self.generation > 0).then_some(self.beat_at),
                Stage::Due(_) => Some(Mono::default()),
                _ => None,
            },
        }
    }

    /// Who coordinates the group.
    ///
    /// # Errors
    /// [`Error::GroupAuthorization`]; everything else is asked again.
    pub(super) fn coordinator_found(
        &mut self,
        now: Mono,
        answer: connection::Result<GroupCoordinatorResponse>,
    ) -> Result<()> {
        if self.coordinator != Coordinator::Asked {
            return Ok(());
        }
        let retry = Coordinator::Unknown {
            ask_at: now + self.rules.retry_backoff,
        };
        self.coordinator = retry;
        let Ok(found) = answer else { return Ok(()) };
        match ErrorCode(found.error) {
            ErrorCode::NONE => {
                self.coordinator = Coordinator::At(HostPort {
                    host: found.host,
                    port: found.port,
                });
                // Its patience with this member begins now, as far as can be known.
                self.alive = now;
                self.beat_at = now;
                Ok(())
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED => Err(self.unauthorized()),
            _ => Ok(()),
        }
    }

    fn unauthorized(&self) -> Error {
        Error::GroupAuthorization(self.rules.group.clone())
    }

    /// The answer to a join of that try.
    ///
    /// # Errors
    /// Refusals that trying again does not help. The next join is sent all the same when it is asked for.
    pub(super) fn joined(
        &mut self,
        now: Mono,
        of: Try,
        answer: connection::Result<JoinGroupResponse>,
    ) -> Result<()> {
        if of != self.tries || self.stage != Stage::Joining {
            return Ok(());
        }
        let group = &self.rules.group;
        self.stage = Stage::Idle;
        self.join_at = now + self.rules.retry_backoff;
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => {
                info!(target: LOGGER, "Attempt to join group {group} failed, retrying: {e}");
                self.coordinator_lost(now);
                return Ok(());
            }
        };
        match ErrorCode(answer.error) {
            ErrorCode::NONE => {
                self.join_at = now;
                self.leads = answer.leader_id == answer.member_id;
                self.member_id = answer.member_id;
                self.generation = answer.generation_id;
                self.strategy = [AssignmentStrategy::Range, AssignmentStrategy::RoundRobin]
                    .into_iter()
                    .find(|s| s.name() == answer.protocol);
                self.stage = if self.leads {
                    Stage::Leading(answer.members)
                } else {
                    Stage::Due(Vec::new())
                };
                Ok(())
            }
            ErrorCode::GROUP_LOAD_IN_PROGRESS => Ok(()),
            ErrorCode::UNKNOWN_MEMBER_ID => {
                info!(target: LOGGER, "Attempt to join group {group} failed due to unknown member id, resetting and retrying.");
                self.member_id.clear();
                self.join_at = now;
                Ok(())
            }
            ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR_FOR_GROUP => {
                info!(target: LOGGER, "Attempt to join group {group} failed due to obsolete coordinator information, retrying.");
                self.coordinator_lost(now);
                Ok(())
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED => Err(self.unauthorized()),
            code @ (ErrorCode::INCONSISTENT_GROUP_PROTOCOL
            | ErrorCode::INVALID_SESSION_TIMEOUT
            | ErrorCode::INVALID_GROUP_ID) => {
                ::log::error!(target: LOGGER, "Attempt to join group {group} failed due to: {}", code.message());
                Err(Error::code(code))
            }
            code => Err(Error::Broker {
                context: "Unexpected error in join group response: ",
                code,
            }),
        }
    }

    /// The members whose shares this one has to compute, with the rule agreed on.
    pub(super) fn leading(&self) -> Option<(Option<AssignmentStrategy>, &[JoinGroupMember])> {
        match &self.stage {
            Stage::Leading(members) => Some((self.strategy, members)),
            _ => None,
        }
    }

    /// Everybody's share, as the leader computed it.
    pub(super) fn led(&mut self, shares: Vec<GroupAssignment>) {
        if matches!(self.stage, Stage::Leading(_)) {
            self.stage = Stage::Due(shares);
        }
    }

    /// The leader cannot compute the shares: the join counts for nothing.
    pub(super) fn led_in_vain(&mut self, now: Mono) {
        if matches!(self.stage, Stage::Leading(_)) {
            self.stage = Stage::Idle;
            self.join_at = now + self.rules.retry_backoff;
        }
    }

    /// The answer to a sync of that try.
    ///
    /// # Errors
    /// Refusals that trying again does not help.
    pub(super) fn synced(
        &mut self,
        now: Mono,
        of: Try,
        answer: connection::Result<SyncGroupResponse>,
    ) -> Result<()> {
        if of != self.tries || self.stage != Stage::Syncing {
            return Ok(());
        }
        let group = &self.rules.group;
        self.stage = Stage::Idle;
        self.join_at = now + self.rules.retry_backoff;
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => {
                info!(target: LOGGER, "SyncGroup for group {group} failed, will find the coordinator and rejoin: {e}");
                self.coordinator_lost(now);
                return Ok(());
            }
        };
        match ErrorCode(answer.error) {
            ErrorCode::NONE => {
                self.stage = Stage::Assigned(answer.assignment);
                self.join_at = now;
                self.alive = now;
                Ok(())
            }
            ErrorCode::REBALANCE_IN_PROGRESS => {
                info!(target: LOGGER, "SyncGroup for group {group} failed due to coordinator rebalance, rejoining the group");
                self.join_at = now;
                Ok(())
            }
            code @ (ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) => {
                info!(target: LOGGER, "SyncGroup for group {group} failed due to {}, rejoining the group", code.name());
                self.member_id.clear();
                self.join_at = now;
                Ok(())
            }
            ErrorCode::GROUP_LOAD_IN_PROGRESS => Ok(()),
            code @ (ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR_FOR_GROUP) => {
                info!(target: LOGGER, "SyncGroup for group {group} failed due to {}, will find new coordinator and rejoin", code.name());
                self.coordinator_lost(now);
                Ok(())
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED => Err(self.unauthorized()),
            code => Err(Error::Broker {
                context: "Unexpected error from SyncGroup: ",
                code,
            }),
        }
    }

    /// Takes the share that has come, if one has. The member counts as joined from here on.
    pub(super) fn take_share(&mut self, now: Mono) -> Option<Bytes> {
        let Stage::Assigned(share) = &mut self.stage else {
            return None;
        };
        let share = std::mem::take(share);
        self.stage = Stage::Idle;
        self.rejoin = self.again;
        self.again = false;
        self.prepared = false;
        self.beating = false;
        self.alive = now;
        self.beat_at = now;
        Some(share)
    }

    /// The answer to a heartbeat of that try.
    pub(super) fn beaten(&mut self, now: Mono, of: Try, answer: connection::Result<ErrorOnlyResponse>) {
        if of != self.tries || !self.beating {
            return;
        }
        self.beating = false;
        let again = self.beat_at.min(now + self.rules.retry_backoff);
        let code = match answer {
            Ok(answer) => ErrorCode(answer.error),
            Err(_) => {
                self.beat_at = again;
                return self.coordinator_lost(now);
            }
        };
        match code {
            ErrorCode::NONE => self.alive = now,
            ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR_FOR_GROUP => {
                info!(target: LOGGER, "Attempt to heart beat failed since coordinator is either not started or not valid, marking it as dead.");
                self.beat_at = again;
                self.coordinator_lost(now);
            }
            ErrorCode::REBALANCE_IN_PROGRESS => {
                info!(target: LOGGER, "Attempt to heart beat failed since the group is rebalancing, try to re-join group.");
                self.request_rejoin();
            }
            ErrorCode::ILLEGAL_GENERATION => {
                info!(target: LOGGER, "Attempt to heart beat failed since generation id is not legal, try to re-join group.");
                self.request_rejoin();
            }
            ErrorCode::UNKNOWN_MEMBER_ID => {
                info!(target: LOGGER, "Attempt to heart beat failed since member id is not valid, reset it and try to re-join group.");
                self.member_id.clear();
                self.request_rejoin();
            }
            code => {
                warn!(target: LOGGER, "Unexpected errorCode in heartbeat response: {}", code.message());
                self.beat_at = again;
            }
        }
    }

    /// Leaves the group: what to tell the coordinator, if it knows this member. What is under way for the
    /// group counts for nothing any more.
    pub(super) fn leave(&mut self) -> Option<LeaveGroupRequest> {
        let known = self.generation > 0 && !self.member_id.is_empty() && self.coordinator().is_some();
        let request = known.then(|| LeaveGroupRequest {
            group_id: self.rules.group.clone(),
            member_id: std::mem::take(&mut self.member_id),
        });
        self.tries += 1;
        self.stage = Stage::Idle;
        self.generation = -1;
        self.member_id.clear();
        self.leads = false;
        self.rejoin = true;
        self.again = false;
        self.prepared = false;
        self.beating = false;
        request
    }
}

fn millis(d: Duration) -> i32 {
    i32::try_from(d.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
