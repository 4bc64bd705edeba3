//! What Kafka does with nodes in more than one step: parents, chroots, trees, and ephemeral nodes that
//! may be there already (ZkUtils, ZKCheckedEphemeral, ZkPath).

use super::address::ConnectString;
use super::error::{Error, Result};
use super::paths::parent;
use super::pipeline::each;
use super::session::{Session, SessionSettings};
use crate::jute::CreateMode;
use crate::util::clock::Clock;

impl Session {
    /// Makes the chroot of a connect string, with its parents, over a session of its own (as
    /// KafkaServer.initZk); nothing if there is no chroot. Returns whether it made anything.
    ///
    /// # Errors
    /// As [`Session::connect`] and [`Session::create`].
    pub async fn ensure_chroot(connect: &str, settings: SessionSettings, clock: Clock) -> Result<bool> {
        let parsed = ConnectString::parse(connect)?;
        if parsed.chroot.is_empty() {
            return Ok(false);
        }
        let servers = connect.strip_suffix(&parsed.chroot).unwrap_or(connect);
        let session = Session::connect(servers, settings, clock).await?;
        let made = match session.exists(&parsed.chroot).await {
            Ok(Some(_)) => Ok(false),
            Ok(None) => session.ensure_path(&parsed.chroot).await.map(|()| true),
            Err(e) => Err(e),
        };
        session.close().await;
        made
    }

    /// Succeeds if the chroot exists (ZkPath.checkNamespace). Tools ask before they make anything:
    /// they never make a chroot.
    ///
    /// # Errors
    /// [`Error::NoNamespace`].
    pub async fn check_namespace(&self) -> Result<()> {
        match self.exists("/").await? {
            Some(_) => Ok(()),
            None => Err(Error::NoNamespace),
        }
    }

    /// Makes a persistent node with null data and what parents it lacks; success if it is there.
    pub async fn ensure_path(&self, path: &str) -> Result<()> {
        match self.create_recursive(path, None, CreateMode::Persistent).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// As [`Session::create`], but makes missing parents, with null data.
    ///
    /// # Errors
    /// As [`Session::create`] but for [`Error::NoNode`], which says that the chroot is missing.
    pub async fn create_recursive(
        &self,
        path: &str,
        data: Option<&[u8]>,
        mode: CreateMode,
    ) -> Result<String> {
        self.create_with_parents(path, data, mode, None).await
    }

    async fn create_with_parents(
        &self,
        path: &str,
        data: Option<&[u8]>,
        mode: CreateMode,
        parents_data: Option<&[u8]>,
    ) -> Result<String> {
        loop {
            match self.create(path, data, mode).await {
                Err(Error::NoNode) => self.make_parents(path, parents_data).await?,
                done => return done,
            }
        }
    }

    /// Makes the missing ones of the parents of `path`, the topmost first.
    async fn make_parents(&self, path: &str, data: Option<&[u8]>) -> Result<()> {
        let mut missing = Vec::new();
        let mut next = parent(path);
        while let Some(path) = next.filter(|p| *p != "/") {
            if self.exists(path).await?.is_some() {
                break;
            }
            missing.push(path);
            next = parent(path);
        }
        if next.is_none_or(|p| p == "/") && !self.chroot().is_empty() {
            self.check_namespace().await?;
        }
        for path in missing.into_iter().rev() {
            match self.create(path, data, CreateMode::Persistent).await {
                // Gone again under our hands: the caller begins anew.
                Ok(_) | Err(Error::NodeExists | Error::NoNode) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Makes an ephemeral node, with its parents (empty data). A node that is there counts as success
    /// if it belongs to this very session (ZKCheckedEphemeral).
    ///
    /// # Errors
    /// [`Error::NodeExists`] if the node belongs to another session, an earlier one of this process
    /// included; such a node goes when that session expires.
    pub async fn create_ephemeral_checked(&self, path: &str, data: &[u8]) -> Result<()> {
        loop {
            let made = self.create_with_parents(path, Some(data), CreateMode::Ephemeral, Some(b""));
            match made.await {
                Ok(_) => return Ok(()),
                Err(Error::NodeExists) => match self.exists(path).await? {
                    Some(stat) if stat.ephemeral_owner == self.session_id() => return Ok(()),
                    Some(_) => return Err(Error::NodeExists),
                    // Vanished in between: try again.
                    None => {}
                },
                Err(e) => return Err(e),
            }
        }
    }

    /// Sets a persistent node's data whatever its version, making the node and its parents if they
    /// are not there (ZkUtils.updatePersistentPath).
    pub async fn put(&self, path: &str, data: &[u8]) -> Result<()> {
        loop {
            match self.set(path, data, -1).await {
                Ok(_) => return Ok(()),
                Err(Error::NoNode) => {}
                Err(e) => return Err(e),
            }
            let made = self.create_recursive(path, Some(data), CreateMode::Persistent);
            match made.await {
                Ok(_) => return Ok(()),
                Err(Error::NodeExists) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Removes a node and all below it; success if it is not there. Children that others make
    /// meanwhile are removed too. A level of the tree goes at a time, all of it at once.
    pub async fn delete_recursive(&self, path: &str) -> Result<()> {
        loop {
            let mut levels = vec![vec![path.to_owned()]];
            while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
                let below = each(level.clone(), |path| {
                    let session = self.clone();
                    async move {
                        let children = session.children(&path).await?;
                        let slash = if path == "/" { "" } else { "/" };
                        let names = children.into_iter().flat_map(|(names, _)| names);
                        Ok(names
                            .map(|name| format!("{path}{slash}{name}"))
                            .collect::<Vec<_>>())
                    }
                });
                let below: Result<Vec<Vec<String>>> = below.await.into_iter().collect();
                levels.push(below?.into_iter().flatten().collect());
            }
            let mut grown = false;
            for level in levels.into_iter().rev() {
                let deleted = each(level, |path| {
                    let session = self.clone();
                    async move { session.delete(&path, -1).await }
                });
                for deleted in deleted.await {
                    match deleted {
                        Ok(()) | Err(Error::NoNode) => {}
                        Err(Error::NotEmpty) => grown = true,
                        Err(e) => return Err(e),
                    }
                }
            }
            if !grown {
                return Ok(());
            }
        }
    }
}
