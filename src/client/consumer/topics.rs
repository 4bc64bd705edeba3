//! Which topics there are.

use std::collections::{BTreeMap, BTreeSet};

use ::log::debug;

use super::drive::Effort;
use super::{Consumer, Error, Result};
use crate::client::metadata::{Metadata, Partition};
use crate::cluster::topic::MAX_NAME_LENGTH;
use crate::protocol::ErrorCode;

impl Consumer {
    /// The partitions of a topic; a broker that creates topics by itself creates one that does not exist.
    /// Empty if the topic does not exist.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`], [`Error::TopicAuthorization`]; [`Error::Timeout`] after
    /// `request.timeout.ms`; [`Error::Wakeup`].
    pub async fn partitions_for(&mut self, topic: &str) -> Result<Vec<Partition>> {
        if topic.is_empty() || topic.len() > MAX_NAME_LENGTH {
            return Err(Error::InvalidTopic(topic.to_owned()));
        }
        if let Some(known) = self.view.metadata.topics.get(topic)
            && !known.partitions.is_empty()
        {
            return Ok(known.partitions.clone());
        }
        let mut topics = self.look_up(vec![topic.to_owned()]).await?;
        Ok(topics.remove(topic).unwrap_or_default())
    }

    /// All topics there are that this client may see, with their partitions.
    ///
    /// # Errors
    /// As [`Consumer::partitions_for`].
    pub async fn list_topics(&mut self) -> Result<BTreeMap<String, Vec<Partition>>> {
        self.look_up(Vec::new()).await
    }

    async fn look_up(&mut self, topics: Vec<String>) -> Result<BTreeMap<String, Vec<Partition>>> {
        let what = "fetching topic metadata";
        let deadline = Some(self.now() + self.settings.request_timeout);
        loop {
            let (client, known) = (self.lanes.client(), self.view.metadata.clone());
            let fetch = Box::pin(async { client.fetch_metadata(&known, &topics).await });
            let answer = self.during(Effort::Idle, deadline, fetch).await?;
            let again = match answer.ok_or_else(|| self.timed_out(what))? {
                Ok(metadata) => match usable(metadata)? {
                    Some(topics) => return Ok(topics),
                    None => "a topic has no leader yet".to_owned(),
                },
                Err(e) => e.to_string(),
            };
            debug!("Metadata is asked for again: {again}");
            self.pause_before_retry(deadline, what).await?;
        }
    }
}

/// What a user sees of topics; `None` while one of them is being made.
fn usable(metadata: Metadata) -> Result<Option<BTreeMap<String, Vec<Partition>>>> {
    let mut denied = BTreeSet::new();
    let mut all = BTreeMap::new();
    for (name, topic) in metadata.topics {
        match topic.error {
            ErrorCode::INVALID_TOPIC_EXCEPTION => return Err(Error::InvalidTopic(name)),
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                denied.insert(name);
            }
            // It does not exist: it is not in the list.
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
            error if error.is_retriable() => return Ok(None),
            ErrorCode::NONE => {
                all.insert(name, topic.partitions);
            }
            code => {
                let context = "Unexpected error fetching metadata: ";
                return Err(Error::Broker { context, code });
            }
        }
    }
    if denied.is_empty() {
        Ok(Some(all))
    } else {
        Err(Error::TopicAuthorization(denied))
    }
}
