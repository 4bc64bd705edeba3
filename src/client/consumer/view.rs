//! When to ask for metadata, and for which topics. A core; the picture itself is
//! [`Metadata`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::log::warn;

use crate::client::connection;
use crate::client::metadata::Metadata;
use crate::protocol::ErrorCode;
use crate::util::clock::Mono;

/// What 0.9 names its log lines after.
const LOGGER: &str = "org.apache.kafka.clients.NetworkClient";

/// The topics that the consumer must know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// Every one there is.
    All,
    /// These; none means that no metadata is needed.
    Some(BTreeSet<String>),
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct View {
    pub(super) metadata: Arc<Metadata>,
    topics: Topics,
    /// A request is under way.
    asked: bool,
    /// Something is missing or wrong.
    stale: bool,
    /// Not before this.
    ask_at: Mono,
    /// When the picture was taken; `None` before the first.
    taken: Option<Mono>,
    /// How often in a row the picture lacked a topic that is wanted.
    lacking: u32,
    max_age: Duration,
    retry_backoff: Duration,
}

impl View {
    pub(super) fn new(max_age: Duration, retry_backoff: Duration) -> View {
        View {
            metadata: Arc::default(),
            topics: Topics::Some(BTreeSet::new()),
            asked: false,
            stale: false,
            ask_at: Mono::default(),
            taken: None,
            lacking: 0,
            max_age,
            retry_backoff,
        }
    }

    /// Wants these topics from now on; new ones are asked for at once.
    pub(super) fn want(&mut self, topics: Topics) {
        if self.topics != topics {
            self.topics = topics;
            if !self.covers() {
                self.stale = true;
                self.lacking = 0;
            }
        }
    }

    /// Something was found to be wrong: asks again soon, unless a request is under way already.
    pub(super) fn refresh(&mut self) {
        self.stale |= !self.asked;
    }

    /// Whether the picture has all topics wanted, be it with an error.
    fn covers(&self) -> bool {
        match &self.topics {
            Topics::All => false,
            Topics::Some(topics) => topics.iter().all(|t| self.metadata.topics.contains_key(t)),
        }
    }

    /// Whether the picture has these topics and is no older than `age`.
    pub(super) fn is_fresh(&self, now: Mono, topics: &BTreeSet<String>, age: Duration) -> bool {
        self.taken.is_some_and(|t| now.since(t) <= age)
            && (self.topics == Topics::All || topics.iter().all(|t| self.metadata.topics.contains_key(t)))
    }

    fn next(&self) -> Option<Mono> {
        if self.asked || self.topics == Topics::Some(BTreeSet::new()) {
            return None;
        }
        let aged = self.taken.map(|t| t + self.max_age);
        match self.stale {
            true => Some(self.ask_at),
            false => aged.map(|a| a.max(self.ask_at)),
        }
    }

    /// When to look at [`View::due`] again.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.next()
    }

    /// The topics to ask for at present, if it is time; an empty list means all.
    pub(super) fn due(&mut self, now: Mono) -> Option<Vec<String>> {
        if self.next()? > now {
            return None;
        }
        self.asked = true;
        self.stale = false;
        Some(match &self.topics {
            Topics::All => Vec::new(),
            Topics::Some(topics) => topics.iter().cloned().collect(),
        })
    }

    /// The answer. Says whether there is a new picture.
    pub(super) fn answered(&mut self, now: Mono, answer: connection::Result<Metadata>) -> bool {
        self.asked = false;
        self.ask_at = now + self.retry_backoff;
        let Ok(metadata) = answer else {
            // Every broker's failure was logged.
            self.stale = true;
            return false;
        };
        let errors = metadata.errors();
        if !errors.is_empty() {
            warn!(
                target: LOGGER,
                "Error while fetching metadata with correlation id {} : {{{}}}",
                metadata.correlation_id,
                errors.join(", ")
            );
        }
        self.metadata = Arc::new(metadata);
        self.taken = Some(now);
        if !self.covers() && self.topics != Topics::All {
            // Wanted while the request was under way.
            self.stale = true;
        }
        if self.lacks_a_topic() {
            // It may be created at this moment, or in an hour.
            self.stale = true;
            let wait = self.retry_backoff.saturating_mul(1 << self.lacking.min(20));
            self.ask_at = now + wait.min(self.max_age.max(self.retry_backoff));
            self.lacking += 1;
        } else {
            self.lacking = 0;
        }
        true
    }

    fn lacks_a_topic(&self) -> bool {
        let Topics::Some(topics) = &self.topics else {
            return false;
        };
        topics.iter().any(|name| {
            self.metadata.topics.get(name).is_some_and(|t| {
                t.partitions.is_empty()
                    && matches!(
                        t.error,
                        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::LEADER_NOT_AVAILABLE
                    )
            })
        })
    }

    /// The wanted topics that this client may not use.
    pub(super) fn unauthorized(&self) -> BTreeSet<String> {
        let denied = self
            .metadata
            .topics
            .iter()
            .filter(|(_, t)| t.error == ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        denied.map(|(name, _)| name.clone()).collect()
    }

    /// How many partitions each of these topics has; 0 where that is not known.
    pub(super) fn counts(&self, topics: &BTreeSet<String>) -> BTreeMap<String, i32> {
        let count = |t: &String| self.metadata.topics.get(t).map_or(0, |t| t.count());
        topics.iter().map(|t| (t.clone(), count(t))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::metadata::Topic;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn some(topics: &[&str]) -> Topics {
        Topics::Some(topics.iter().map(|t| (*t).to_owned()).collect())
    }

    fn picture(topics: &[(&str, ErrorCode)]) -> Metadata {
        let topic = |error| Topic {
            error,
            partitions: vec![],
            available: vec![],
        };
        Metadata {
            topics: topics.iter().map(|(n, e)| ((*n).to_owned(), topic(*e))).collect(),
            ..Metadata::default()
        }
    }

    fn view() -> View {
        View::new(Duration::from_millis(1000), Duration::from_millis(100))
    }

    #[test]
    fn nothing_is_asked_until_something_is_wanted_then_at_once_and_when_old() {
        let mut v = view();
        assert_eq!((v.due(at(5000)), v.deadline()), (None, None));
        v.want(some(&["t"]));
        assert_eq!(v.due(at(0)), Some(vec!["t".to_owned()]));
        assert_eq!(v.due(at(0)), None, "it is under way");
        assert!(v.answered(at(10), Ok(picture(&[("t", ErrorCode::NONE)]))));
        assert_eq!(v.deadline(), Some(at(1010)));
        assert_eq!(v.due(at(1009)), None);
        assert!(v.due(at(1010)).is_some());
    }

    #[test]
    fn what_is_wrong_or_new_is_asked_after_the_back_off() {
        let mut v = view();
        v.want(some(&["t"]));
        v.due(at(0)).unwrap();
        v.want(some(&["t", "u"]));
        v.answered(at(10), Ok(picture(&[("t", ErrorCode::NONE)])));
        assert_eq!(v.deadline(), Some(at(110)), "u was wanted meanwhile");
        v.due(at(110)).unwrap();
        v.answered(
            at(120),
            Ok(picture(&[("t", ErrorCode::NONE), ("u", ErrorCode::NONE)])),
        );
        v.want(some(&["u"]));
        assert_eq!(v.deadline(), Some(at(1120)), "nothing is missing");
        v.refresh();
        assert_eq!(v.deadline(), Some(at(220)));
        v.due(at(220)).unwrap();
        let closed = connection::Error::Closed { peer: "h:1".into() };
        assert!(!v.answered(at(230), Err(closed)));
        assert_eq!(v.deadline(), Some(at(330)));
    }

    #[test]
    fn a_topic_that_is_not_there_is_looked_for_less_and_less_often() {
        let mut v = view();
        v.want(some(&["t"]));
        let mut waits = vec![];
        let mut now = 0;
        for _ in 0..6 {
            v.due(at(now)).unwrap();
            v.answered(
                at(now),
                Ok(picture(&[("t", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)])),
            );
            let next = v.deadline().unwrap().since(at(now));
            waits.push(next.as_millis());
            now += u64::try_from(next.as_millis()).unwrap();
        }
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        v.due(at(now)).unwrap();
        v.answered(at(now), Ok(picture(&[("t", ErrorCode::NONE)])));
        v.refresh();
        assert_eq!(v.deadline().unwrap().since(at(now)).as_millis(), 100);
    }

    #[test]
    fn all_topics_are_asked_for_by_an_empty_list() {
        let mut v = view();
        v.want(Topics::All);
        assert_eq!(v.due(at(0)), Some(vec![]));
        v.answered(
            at(0),
            Ok(picture(&[("t", ErrorCode::TOPIC_AUTHORIZATION_FAILED)])),
        );
        assert_eq!(v.deadline(), Some(at(1000)));
        assert!(v.is_fresh(
            at(5),
            &BTreeSet::from(["new".to_owned()]),
            Duration::from_millis(5)
        ));
        assert!(!v.is_fresh(at(6), &BTreeSet::new(), Duration::from_millis(5)));
        assert_eq!(v.unauthorized().len(), 1);
    }
}
