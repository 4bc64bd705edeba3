//! Commits under way, when the next automatic one is due, and what the coordinator's answers mean. A core.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ::log::{error, info};
use tokio::sync::oneshot;

use super::error::{Error, Result};
use super::membership::Try;
use super::subscription::OffsetAndMetadata;
use crate::client::{connection, simple};
use crate::cluster::TopicPartition;
use crate::protocol::ErrorCode;
use crate::protocol::offset_commit::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitTopic,
};
use crate::protocol::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic};
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator";

/// The most commits that may wait for an answer.
const MOST: usize = 100;

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Told what became of an asynchronous commit, within a later call of the consumer.
pub type CommitCallback = Box<dyn FnOnce(Offsets, Result<()>) + Send>;

/// Who is told of a commit's end.
pub(super) enum Told {
    Callback(CommitCallback),
    Waiter(oneshot::Sender<Result<()>>),
    /// The automatic commit.
    Timer,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Told::Callback(_) => "Callback",
            Told::Waiter(_) => "Waiter",
            Told::Timer => "Timer",
        })
    }
}

#[derive(Debug)]
struct UnderWay {
    offsets: Offsets,
    told: Told,
    of: Try,
}

/// What an answer means for others.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) offsets: Offsets,
    pub(super) told: Told,
    pub(super) result: Result<()>,
    /// The partitions whose offset was taken.
    pub(super) taken: Vec<TopicPartition>,
    /// The coordinator must be looked for.
    pub(super) coordinator_lost: bool,
    /// The group has moved on since that try.
    pub(super) moved_on: Option<Try>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Commits {
    under_way: HashMap<u64, UnderWay>,
    next_id: u64,
    interval: Duration,
    /// When the next automatic commit is due; `None` when there are none at present.
    auto_at: Option<Mono>,
    auto_under_way: bool,
}

impl Commits {
    pub(super) fn new(interval: Duration) -> Commits {
        Commits {
            interval,
            ..Commits::default()
        }
    }

    /// Automatic commits begin, or go on.
    pub(super) fn start_timer(&mut self, now: Mono) {
        self.auto_at.get_or_insert(now + self.interval);
    }

    /// No automatic commits until they are started again.
    pub(super) fn stop_timer(&mut self) {
        self.auto_at = None;
    }

    /// When the next automatic commit is due.
    pub(super) fn timer(&self) -> Option<Mono> {
        self.auto_at.filter(|_| !self.auto_under_way)
    }

    /// The coordinator is not known: tries again a moment later.
    pub(super) fn postpone(&mut self, at: Mono) {
        if self.auto_at.is_some() {
            self.auto_at = Some(at);
        }
    }

    /// How many wait for an answer.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether one more may be sent.
    pub(super) fn is_full(&self) -> bool {
        self.under_way.len() >= MOST
    }

    /// Notes a commit, whose request goes out under the id returned.
    pub(super) fn begin(
        &mut self,
        now: Mono,
        group: &str,
        (generation, member_id): (i32, &str),
        of: Try,
        offsets: Offsets,
        told: Told,
    ) -> (u64, OffsetCommitRequest) {
        if let Told::Timer = told {
            self.auto_under_way = true;
            self.auto_at = Some(now + self.interval);
        }
        let topics = simple::by_topic(offsets.iter().map(|(at, committed)| {
            let commit = OffsetCommitPartition {
                partition: at.partition,
                offset: committed.offset,
                timestamp: -1,
                metadata: Some(committed.metadata.clone()),
            };
            (at, commit)
        }));
        let topics = topics
            .into_iter()
            .map(|(topic, partitions)| OffsetCommitTopic { topic, partitions });
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id: generation,
            member_id: member_id.to_owned(),
            retention_time_ms: -1,
            topics: topics.collect(),
        };
        let id = self.next_id;
        self.next_id += 1;
        self.under_way.insert(id, UnderWay { offsets, told, of });
        (id, request)
    }

    /// The answer to the commit of that id.
    pub(super) fn answered(
        &mut self,
        group: &str,
        id: u64,
        answer: connection::Result<OffsetCommitResponse>,
    ) -> Option<Outcome> {
        let UnderWay { offsets, told, of } = self.under_way.remove(&id)?;
        if let Told::Timer = told {
            self.auto_under_way = false;
        }
        let mut outcome = Outcome {
            offsets,
            told,
            result: Ok(()),
            taken: Vec::new(),
            coordinator_lost: false,
            moved_on: None,
        };
        match answer {
            Ok(answer) => judge(group, of, answer, &mut outcome),
            Err(e) => {
                outcome.coordinator_lost = true;
                outcome.result = Err(e.into());
            }
        }
        Some(outcome)
    }
}

/// Goes through the partitions until one was refused, as the Java client does.
fn judge(group: &str, of: Try, answer: OffsetCommitResponse, outcome: &mut Outcome) {
    let mut denied = BTreeSet::new();
    for topic in answer.topics {
        for result in topic.partitions {
            let partition = TopicPartition::new(topic.topic.as_str(), result.partition);
            outcome.result = Err(match ErrorCode(result.error) {
                ErrorCode::NONE => {
                    outcome.taken.push(partition);
                    continue;
                }
                ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                    denied.insert(topic.topic.clone());
                    continue;
                }
                ErrorCode::GROUP_AUTHORIZATION_FAILED => {
                    error!(target: LOGGER, "Unauthorized to commit for group {group}");
                    Error::GroupAuthorization(group.to_owned())
                }
                code @ (ErrorCode::OFFSET_METADATA_TOO_LARGE | ErrorCode::INVALID_COMMIT_OFFSET_SIZE) => {
                    info!(target: LOGGER, "Offset commit for group {group} failed on partition {} due to {}", partition.dir_name(), code.name());
                    Error::code(code)
                }
                code @ ErrorCode::GROUP_LOAD_IN_PROGRESS => {
                    info!(target: LOGGER, "Offset commit for group {group} failed due to {}, will retry", code.name());
                    Error::code(code)
                }
                code @ (ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NOT_COORDINATOR_FOR_GROUP
                | ErrorCode::REQUEST_TIMED_OUT) => {
                    info!(target: LOGGER, "Offset commit for group {group} failed due to {}, will find new coordinator and retry", code.name());
                    outcome.coordinator_lost = true;
                    Error::code(code)
                }
                code @ (ErrorCode::UNKNOWN_MEMBER_ID
                | ErrorCode::ILLEGAL_GENERATION
                | ErrorCode::REBALANCE_IN_PROGRESS) => {
                    error!(target: LOGGER, "Error {} occurred while committing offsets for group {group}", code.name());
                    outcome.moved_on = Some(of);
                    Error::CommitFailed
                }
                code => {
                    error!(target: LOGGER, "Error committing partition {}: {}", partition.dir_name(), code.message());
                    Error::Broker {
                        context: "Unexpected error in commit: ",
                        code,
                    }
                }
            });
            return;
        }
    }
    outcome.result = if denied.is_empty() {
        Ok(())
    } else {
        error!(target: LOGGER, "Unauthorized to commit to topics {denied:?}");
        Err(Error::TopicAuthorization(denied))
    };
}

/// What the group has committed for each partition, `None` where nothing.
pub(super) type Committed = BTreeMap<TopicPartition, Option<OffsetAndMetadata>>;

/// Asks what the group has committed.
pub(super) fn question(group: &str, partitions: &[TopicPartition]) -> OffsetFetchRequest {
    let topics = simple::by_topic(partitions.iter().map(|at| (at, at.partition)));
    let topics = topics
        .into_iter()
        .map(|(topic, partitions)| OffsetFetchTopic { topic, partitions });
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.collect(),
    }
}

/// What an answer to [`question`] says. Beside an error: whether the coordinator must be looked for.
pub(super) fn committed(
    group: &str,
    answer: connection::Result<OffsetFetchResponse>,
) -> std::result::Result<Committed, (Error, bool)> {
    let answer = answer.map_err(|e| (e.into(), true))?;
    let mut all = Committed::new();
    for topic in answer.topics {
        for result in topic.partitions {
            let code = ErrorCode(result.error);
            match code {
                ErrorCode::NONE => {}
                ErrorCode::GROUP_LOAD_IN_PROGRESS => return Err((Error::code(code), false)),
                ErrorCode::NOT_COORDINATOR_FOR_GROUP | ErrorCode::GROUP_COORDINATOR_NOT_AVAILABLE => {
                    return Err((Error::code(code), true));
                }
                ErrorCode::GROUP_AUTHORIZATION_FAILED => {
                    return Err((Error::GroupAuthorization(group.to_owned()), false));
                }
                ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                    return Err((Error::TopicAuthorization([topic.topic].into()), false));
                }
                code => {
                    let context = "Unexpected error in fetch offset response: ";
                    return Err((Error::Broker { context, code }, false));
                }
            }
            let partition = TopicPartition::new(topic.topic.as_str(), result.partition);
            let offset = (result.offset >= 0).then(|| OffsetAndMetadata {
                offset: result.offset,
                metadata: result.metadata.unwrap_or_default(),
            });
            all.insert(partition, offset);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::offset_commit::{OffsetCommitPartitionResult, OffsetCommitTopicResult};

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn answer(codes: &[ErrorCode]) -> OffsetCommitResponse {
        let partitions = (0..)
            .zip(codes)
            .map(|(partition, code)| OffsetCommitPartitionResult {
                partition,
                error: code.0,
            });
        OffsetCommitResponse {
            topics: vec![OffsetCommitTopicResult {
                topic: "t".into(),
                partitions: partitions.collect(),
            }],
        }
    }

    fn outcome(codes: &[ErrorCode]) -> Outcome {
        let mut commits = Commits::new(Duration::from_secs(5));
        let offsets: Offsets = (0..2).map(|p| (tp(p), 7.into())).collect();
        let (id, request) = commits.begin(Mono::default(), "g", (3, "m"), 9, offsets, Told::Timer);
        assert_eq!((request.generation_id, request.member_id.as_str()), (3, "m"));
        assert_eq!(request.topics[0].partitions.len(), 2);
        commits.answered("g", id, Ok(answer(codes))).unwrap()
    }

    #[test]
    fn what_an_answer_means_is_kafkas() {
        let o = outcome(&[ErrorCode::NONE, ErrorCode::NONE]);
        assert!(o.result.is_ok() && o.taken == [tp(0), tp(1)]);
        for (code, text, lost, moved, retriable) in [
            (
                ErrorCode::ILLEGAL_GENERATION,
                "Commit cannot be completed due to group rebalance",
                false,
                true,
                false,
            ),
            (
                ErrorCode::NOT_COORDINATOR_FOR_GROUP,
                "This is not the correct coordinator for this group.",
                true,
                false,
                true,
            ),
            (
                ErrorCode::GROUP_LOAD_IN_PROGRESS,
                "The coordinator is loading and hence can't process requests for this group.",
                false,
                false,
                true,
            ),
            (
                ErrorCode::OFFSET_METADATA_TOO_LARGE,
                "The metadata field of the offset request was too large.",
                false,
                false,
                false,
            ),
            (
                ErrorCode::GROUP_AUTHORIZATION_FAILED,
                "Not authorized to access group: g",
                false,
                false,
                false,
            ),
            (
                ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                "Not authorized to access topics: [t]",
                false,
                false,
                false,
            ),
            (
                ErrorCode::UNKNOWN,
                "Unexpected error in commit: The server experienced an unexpected error when processing the request",
                false,
                false,
                false,
            ),
        ] {
            let o = outcome(&[ErrorCode::NONE, code]);
            let e = o.result.unwrap_err();
            assert_eq!(e.to_string(), text);
            assert_eq!(
                (o.coordinator_lost, o.moved_on == Some(9), e.is_retriable()),
                (lost, moved, retriable),
                "{code}"
            );
            assert_eq!(o.taken, [tp(0)], "what was taken before counts");
        }
    }

    #[test]
    fn the_timer_runs_between_start_and_stop_and_waits_for_its_answer() {
        let at = Mono::from_millis;
        let mut commits = Commits::new(Duration::from_millis(100));
        assert_eq!(commits.timer(), None);
        commits.start_timer(at(0));
        commits.start_timer(at(50));
        assert_eq!(commits.timer(), Some(at(100)), "it was running");
        commits.postpone(at(110));
        assert_eq!(commits.timer(), Some(at(110)));
        let (id, _) = commits.begin(at(110), "g", (-1, ""), 0, Offsets::new(), Told::Timer);
        assert_eq!(commits.timer(), None);
        let closed = connection::Error::Closed { peer: "h:1".into() };
        assert!(commits.answered("g", id, Err(closed)).unwrap().coordinator_lost);
        assert_eq!(commits.timer(), Some(at(210)));
        commits.stop_timer();
        assert_eq!(commits.timer(), None);
    }
}
