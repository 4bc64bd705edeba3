//! The console consumer's own business with its group's nodes: whether it may begin, and cleaning up.

use std::time::Duration;

use crate::util::clock::Clock;
use crate::zookeeper::{Result, Session, SessionSettings, paths};

/// A group, and where its nodes are.
pub(super) struct GroupNodes<'a> {
    pub(super) connect: &'a str,
    pub(super) group: &'a str,
}

impl GroupNodes<'_> {
    async fn session(&self) -> Result<Session> {
        let patience = Duration::from_secs(30);
        let settings = SessionSettings {
            session_timeout: patience,
            connection_timeout: patience,
        };
        Session::connect(self.connect, settings, Clock::system()).await
    }

    /// Looks for brokers and for offsets that would make `--from-beginning` mean nothing; with
    /// `delete` removes the group first. Returns why not to begin, if so.
    pub(super) async fn check(&self, from_beginning: bool, delete: bool) -> Result<Option<String>> {
        let session = self.session().await?;
        let refusal = self.look(&session, from_beginning, delete).await;
        session.close().await;
        refusal
    }

    async fn look(&self, session: &Session, from_beginning: bool, delete: bool) -> Result<Option<String>> {
        if session.exists(paths::BROKER_IDS).await?.is_none() {
            return Ok(Some("No brokers found in ZK.".to_owned()));
        }
        if delete {
            session
                .delete_recursive(&paths::consumer_group(self.group))
                .await?;
            return Ok(None);
        }
        let offsets = paths::consumer_offsets(self.group);
        if from_beginning && session.exists(&offsets).await?.is_some() {
            return Ok(Some(format!(
                "Found previous offset information for this group {}. Please use --delete-consumer-offsets to delete previous offsets metadata",
                self.group
            )));
        }
        Ok(None)
    }

    /// Removes all that is left of the group.
    pub(super) async fn delete(&self) -> Result<()> {
        let session = self.session().await?;
        let deleted = session.delete_recursive(&paths::consumer_group(self.group)).await;
        session.close().await;
        deleted
    }
}
