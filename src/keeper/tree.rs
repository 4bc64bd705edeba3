//! The nodes in memory: what is true after the last applied transaction.
//!
//! [`Tree::apply`] carries a transaction out without any decision; checks were made before it was
//! logged. Applying is idempotent where recovery needs it: transactions that a snapshot already holds
//! leave the tree as it is. Knows no session, no watch and no file; reports changes to whoever asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::jute::{Acl, ErrorCode, Stat};

use super::path;
use super::quota::Quotas;
use super::txn::{Life, NewNode, Txn, TxnHeader};

/// The owner that marks a container.
const CONTAINER: i64 = i64::MIN;
/// The highest byte of the owner that marks a time to live, and the bits that hold it.
const TTL: i64 = 0xff << 56;
const TTL_BITS: i64 = (1 << 40) - 1;

/// The longest time to live that fits, in milliseconds.
pub(super) const MAX_TTL_MS: i64 = TTL_BITS;

/// One node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Null and empty are different.
    pub(super) data: Option<Box<[u8]>>,
    /// `None` is the open ACL.
    pub(super) acl: Option<Arc<Vec<Acl>>>,
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) pzxid: i64,
    pub(super) ctime: i64,
    pub(super) mtime: i64,
    pub(super) version: i32,
    /// How many children were ever made: the next sequence number.
    pub(super) creates: i32,
    pub(super) aversion: i32,
    /// The session of an ephemeral node, the mark of a container or of a time to live, or zero.
    pub(super) owner: i64,
    /// Full paths.
    pub(super) children: BTreeSet<Arc<str>>,
}

impl Node {
    /// What clients see of it.
    pub(super) fn stat(&self) -> Stat {
        let children = self.children.len() as i32;
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            // Makings and removals: each child that was made and is no more was removed once.
            cversion: self.creates.wrapping_mul(2).wrapping_sub(children),
            aversion: self.aversion,
            // The marks of containers and of times to live are not shown.
            ephemeral_owner: match self.life() {
                Life::Ephemeral => self.owner,
                Life::Persistent | Life::Container | Life::Ttl(_) => 0,
            },
            data_length: self.data.as_ref().map_or(0, |d| d.len() as i32),
            num_children: children,
            pzxid: self.pzxid,
        }
    }

    /// Who may do what.
    pub(super) fn acl(&self) -> Vec<Acl> {
        match &self.acl {
            Some(acl) => acl.to_vec(),
            None => Acl::open(),
        }
    }

    /// What ends its life.
    pub(super) fn life(&self) -> Life {
        life_of(self.owner)
    }

    /// The last part of each child's path.
    pub(super) fn child_names(&self) -> impl Iterator<Item = &str> {
        self.children.iter().map(|child| path::name(child))
    }
}

/// What an owner says of the end of a node's life.
pub(super) fn life_of(owner: i64) -> Life {
    match owner {
        0 => Life::Persistent,
        CONTAINER => Life::Container,
        ttl if ttl & TTL == TTL => Life::Ttl(ttl & TTL_BITS),
        _ => Life::Ephemeral,
    }
}

/// The owner to store for a node of that life.
pub(super) fn owner_of(life: Life, session: i64) -> i64 {
    match life {
        Life::Persistent => 0,
        Life::Ephemeral => session,
        Life::Container => CONTAINER,
        Life::Ttl(ttl_ms) => TTL | (ttl_ms & TTL_BITS),
    }
}

/// A change that watches may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A node was made.
    Created(Arc<str>),
    /// A node was removed.
    Deleted(Arc<str>),
    /// Data was set.
    DataChanged(Arc<str>),
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing to report.
    Done,
    /// A node was made.
    Made { path: String, stat: Stat },
    /// Data or ACL was set.
    Set(Stat),
    /// It failed; for a transaction that is no error itself, only in recovery.
    Failed(ErrorCode),
    /// The outcomes of the parts.
    Multi(Vec<Outcome>),
}

/// All nodes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: HashMap<Arc<str>, Node>,
    /// Nodes by the session that they go with.
    ephemerals: BTreeMap<i64, BTreeSet<Arc<str>>>,
    /// Containers and nodes with a time to live.
    reapable: BTreeSet<Arc<str>>,
    /// One copy of each ACL in use.
    acls: HashSet<Arc<Vec<Acl>>>,
    /// When to look for ACLs that are no longer used.
    acl_limit: usize,
    quotas: Quotas,
    last_zxid: i64,
    /// Characters of all paths and bytes of all data.
    size: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut tree = Tree::bare();
        tree.root().data = Some(Box::default());
        for path in [path::ZOOKEEPER, path::QUOTA] {
            let node = Node {
                data: Some(Box::default()),
                ..Node::default()
            };
            tree.restore(path, node).expect("the parent was made just before");
        }
        tree
    }
}

impl Tree {
    /// The root alone: what a snapshot is read into.
    pub(super) fn bare() -> Tree {
        Tree {
            nodes: HashMap::from([("/".into(), Node::default())]),
            ephemerals: BTreeMap::new(),
            reapable: BTreeSet::new(),
            acls: HashSet::new(),
            acl_limit: 64,
            quotas: Quotas::default(),
            last_zxid: 0,
            size: 1,
        }
    }

    /// The node at `path`. The empty path is the root too, as ZooKeeper has it.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(if path.is_empty() { "/" } else { path })
    }

    fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(if path.is_empty() { "/" } else { path })
    }

    /// Replaces data without a trace in the stat, as the counts of quotas are; says whether the node
    /// is there.
    pub(super) fn set_untraced(&mut self, path: &str, data: Box<[u8]>) -> bool {
        let Some(node) = self.get_mut(path) else {
            return false;
        };
        let after = data.len();
        let before = node.data.replace(data).map_or(0, |d| d.len());
        self.size = self.size - before + after;
        true
    }

    /// The newest transaction that was applied.
    pub(super) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Sets the newest transaction, after a snapshot was read.
    pub(super) fn set_last_zxid(&mut self, zxid: i64) {
        self.last_zxid = zxid;
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Characters of all paths and bytes of all data.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The ephemeral nodes of a session, in order.
    pub(super) fn ephemerals(&self, session: i64) -> impl Iterator<Item = &Arc<str>> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    /// All sessions that own ephemeral nodes, with these.
    pub(super) fn all_ephemerals(&self) -> impl Iterator<Item = (i64, &BTreeSet<Arc<str>>)> {
        self.ephemerals.iter().map(|(session, paths)| (*session, paths))
    }

    /// How many ephemeral nodes there are.
    pub(super) fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Containers and nodes with a time to live that have no reason to stay at wall time `now_ms`.
    pub(super) fn reapable(&self, now_ms: i64) -> impl Iterator<Item = &Arc<str>> {
        self.reapable.iter().filter(move |path| {
            self.get(path)
                .filter(|node| node.children.is_empty())
                .is_some_and(|node| match node.life() {
                    Life::Container => node.creates > 0,
                    Life::Ttl(ttl_ms) => now_ms - node.mtime > ttl_ms,
                    Life::Persistent | Life::Ephemeral => false,
                })
        })
    }

    /// How many nodes there are below `path`; `None` if it does not exist.
    pub(super) fn descendants(&self, path: &str) -> Option<usize> {
        let mut count = 0;
        let mut open = vec![self.get(path)?];
        while let Some(node) = open.pop() {
            count += node.children.len();
            open.extend(node.children.iter().filter_map(|child| self.get(child)));
        }
        Some(count)
    }

    /// All nodes with their paths, each parent before its children.
    pub(super) fn walk(&self) -> impl Iterator<Item = (&str, &Node)> {
        let mut open: Vec<&str> = vec!["/"];
        std::iter::from_fn(move || {
            let path = open.pop()?;
            let node = self.get(path)?;
            open.extend(node.children.iter().rev().map(|child| &**child));
            Some((path, node))
        })
    }

    /// Puts a node of a snapshot in its place.
    ///
    /// # Errors
    /// [`ErrorCode::NO_NODE`] if its parent is not there yet.
    pub(super) fn restore(&mut self, path: &str, mut node: Node) -> Result<(), ErrorCode> {
        node.acl = node.acl.take().and_then(|acl| self.shared((*acl).clone()));
        if path.is_empty() || path == "/" {
            node.children = std::mem::take(&mut self.root().children);
            self.size += node.data.as_ref().map_or(0, |d| d.len());
            *self.root() = node;
            return Ok(());
        }
        let key: Arc<str> = path.into();
        let parent = path::parent(path).and_then(|p| self.get_mut(p));
        parent.ok_or(ErrorCode::NO_NODE)?.children.insert(key.clone());
        self.insert(key, node);
        Ok(())
    }

    /// Arms the quotas whose limits a snapshot held, and counts what they bound.
    pub(super) fn arm_quotas(&mut self) {
        let limits: Vec<String> = self.walk().filter_map(|(p, _)| Quotas::bounded_by(p)).collect();
        for bounded in limits {
            Quotas::recount(self, &bounded);
            self.quotas.arm(&bounded);
        }
    }

    /// Carries a transaction out and notes what changed, in the order of ZooKeeper's events.
    pub(super) fn apply(&mut self, header: &TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Outcome {
        let outcome = self.apply_part(header, txn, changes);
        self.last_zxid = self.last_zxid.max(header.zxid);
        outcome
    }

    fn apply_part(&mut self, header: &TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Outcome {
        let outcome = match txn {
            Txn::CreateSession { .. } | Txn::Check { .. } => Ok(Outcome::Done),
            Txn::CloseSession => {
                self.end_session(header.session, header.zxid, changes);
                Ok(Outcome::Done)
            }
            Txn::Create(node) => self.create(header, node, changes),
            Txn::Delete { path } => self.delete(path, header.zxid, changes).map(|()| Outcome::Done),
            Txn::SetData { path, data, version } => {
                self.set_data(header, path, data.as_deref(), *version, changes)
            }
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Txn::Error(code) => Err(*code),
            Txn::Multi(parts) => return self.apply_multi(header, parts, changes),
        };
        outcome.unwrap_or_else(Outcome::Failed)
    }

    fn apply_multi(&mut self, header: &TxnHeader, parts: &[Txn], changes: &mut Vec<Change>) -> Outcome {
        if let Some(at) = parts.iter().position(|part| matches!(part, Txn::Error(_))) {
            let outcomes = parts.iter().enumerate().map(|(i, part)| {
                Outcome::Failed(match part {
                    Txn::Error(code) => *code,
                    _ if i < at => ErrorCode::OK,
                    _ => ErrorCode::RUNTIME_INCONSISTENCY,
                })
            });
            return Outcome::Multi(outcomes.collect());
        }
        let outcomes = parts.iter().map(|part| self.apply_part(header, part, changes));
        Outcome::Multi(outcomes.collect())
    }

    /// Deletes the ephemeral nodes of a session.
    pub(super) fn end_session(&mut self, session: i64, zxid: i64, changes: &mut Vec<Change>) {
        for path in self.ephemerals.remove(&session).unwrap_or_default() {
            // It is there: the table of ephemeral nodes and the nodes change together.
            let _ = self.delete(&path, zxid, changes);
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        new: &NewNode,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, ErrorCode> {
        let key: Arc<str> = new.path.as_str().into();
        let parent = path::parent(&new.path).and_then(|p| self.get_mut(p));
        let parent = parent.ok_or(ErrorCode::NO_NODE)?;
        if key.is_empty() || &*key == "/" || parent.children.contains(&key) {
            // In recovery: the snapshot is younger than this transaction.
            if new.parent_creates > parent.creates {
                parent.creates = new.parent_creates;
            }
            parent.pzxid = parent.pzxid.max(header.zxid);
            return Err(ErrorCode::NODE_EXISTS);
        }
        parent.creates = match new.parent_creates {
            -1 => parent.creates.wrapping_add(1),
            creates => creates,
        };
        parent.pzxid = header.zxid;
        parent.children.insert(key.clone());
        let node = Node {
            data: new.data.as_deref().map(Box::from),
            acl: self.shared(new.acl.clone()),
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            owner: owner_of(new.life, header.session),
            ..Node::default()
        };
        let stat = node.stat();
        let bytes = node.data.as_ref().map_or(0, |d| d.len() as i64);
        self.insert(key.clone(), node);
        self.quota_of_created(&key, bytes);
        changes.push(Change::Created(key));
        Ok(Outcome::Made {
            path: new.path.clone(),
            stat,
        })
    }

    fn delete(&mut self, path: &str, zxid: i64, changes: &mut Vec<Change>) -> Result<(), ErrorCode> {
        let (key, node) = self.nodes.remove_entry(path).ok_or(ErrorCode::NO_NODE)?;
        let bytes = node.data.as_ref().map_or(0, |d| d.len());
        self.size -= key.chars().count() + bytes;
        match node.life() {
            Life::Persistent => {}
            Life::Container | Life::Ttl(_) => {
                self.reapable.remove(&key);
            }
            Life::Ephemeral => {
                if let Some(paths) = self.ephemerals.get_mut(&node.owner) {
                    paths.remove(&key);
                    if paths.is_empty() {
                        self.ephemerals.remove(&node.owner);
                    }
                }
            }
        }
        let parent = path::parent(path).and_then(|p| self.get_mut(p));
        let parent = parent.ok_or(ErrorCode::NO_NODE)?;
        parent.children.remove(&key);
        parent.pzxid = zxid;
        if let Some(bounded) = Quotas::bounded_by(path) {
            self.quotas.disarm(&bounded);
        }
        if let Some(bounded) = self.quotas.of(path) {
            Quotas::count(self, &bounded, -1, -(bytes as i64));
        }
        changes.push(Change::Deleted(key));
        Ok(())
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, ErrorCode> {
        let node = self.get_mut(path).ok_or(ErrorCode::NO_NODE)?;
        let before = node.data.as_ref().map_or(0, |d| d.len());
        let after = data.map_or(0, <[u8]>::len);
        node.data = data.map(Box::from);
        node.version = version;
        node.mzxid = header.zxid;
        node.mtime = header.time_ms;
        let stat = node.stat();
        self.size = self.size - before + after;
        if let Some(bounded) = self.quotas.of(path) {
            Quotas::count(self, &bounded, 0, after as i64 - before as i64);
        }
        changes.push(Change::DataChanged(path.into()));
        Ok(Outcome::Set(stat))
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Outcome, ErrorCode> {
        let acl = self.shared(acl.to_vec());
        let node = self.get_mut(path).ok_or(ErrorCode::NO_NODE)?;
        node.acl = acl;
        node.aversion = version;
        Ok(Outcome::Set(node.stat()))
    }

    fn quota_of_created(&mut self, key: &str, bytes: i64) {
        if let Some(bounded) = Quotas::bounded_by(key) {
            self.quotas.arm(&bounded);
        }
        if let Some(counted) = Quotas::counted_by(key) {
            Quotas::recount(self, &counted);
        }
        if let Some(bounded) = self.quotas.of(key) {
            Quotas::count(self, &bounded, 1, bytes);
        }
    }

    fn insert(&mut self, key: Arc<str>, node: Node) {
        self.size += key.chars().count() + node.data.as_ref().map_or(0, |d| d.len());
        match node.life() {
            Life::Persistent => {}
            Life::Container | Life::Ttl(_) => {
                self.reapable.insert(key.clone());
            }
            Life::Ephemeral => {
                self.ephemerals.entry(node.owner).or_default().insert(key.clone());
            }
        }
        let chars = key.chars().count();
        // In recovery over a snapshot that is younger than the log, a node may have lost its parent for
        // a while and is now made again.
        if let Some(lost) = self.nodes.insert(key, node) {
            self.size -= chars + lost.data.as_ref().map_or(0, |d| d.len());
        }
    }

    fn root(&mut self) -> &mut Node {
        self.nodes.get_mut("/").expect("the root is never removed")
    }

    /// The one copy of `acl`; `None` for the open one.
    fn shared(&mut self, acl: Vec<Acl>) -> Option<Arc<Vec<Acl>>> {
        if acl == Acl::open() {
            return None;
        }
        if let Some(known) = self.acls.get(&acl) {
            return Some(known.clone());
        }
        if self.acls.len() >= self.acl_limit {
            self.acls.retain(|acl| Arc::strong_count(acl) > 1);
            self.acl_limit = 64.max(self.acls.len() * 2);
        }
        let acl = Arc::new(acl);
        self.acls.insert(acl.clone());
        Some(acl)
    }
}

#[cfg(test)]
mod tests;
