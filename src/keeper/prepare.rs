//! Checks a write against what will be true when its turn comes, and makes it a transaction.
//!
//! Writes are prepared in order of arrival, long before the ones before them are durable. So every
//! check looks at [`Pending`] first: the parts of nodes that checks need, as they will be after all
//! writes that are on the way; and at the tree for the rest. A write that fails changes nothing here,
//! a multi that fails neither.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::jute::{Acl, CreateMode, ErrorCode, Id, MultiOp, OpCode, perms};

use super::acl::AclRules;
use super::path;
use super::request::Request;
use super::tree::{MAX_TTL_MS, Node, Tree, life_of, owner_of};
use super::txn::{Life, NewNode, Txn};

type Checked<T> = std::result::Result<T, ErrorCode>;

/// What checks need to know of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    version: i32,
    aversion: i32,
    creates: i32,
    owner: i64,
    children: usize,
    /// `None` is the open ACL.
    acl: Option<Arc<Vec<Acl>>>,
}

impl From<&Node> for View {
    fn from(node: &Node) -> View {
        View {
            version: node.version,
            aversion: node.aversion,
            creates: node.creates,
            owner: node.owner,
            children: node.children.len(),
            acl: node.acl.clone(),
        }
    }
}

/// The last write that changes a node, and what the node will be; `None` if it will be gone.
type Last = (i64, Option<View>);

/// Nodes as they will be after the writes that are on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    nodes: HashMap<Arc<str>, Last>,
    /// What is to be forgotten when which write is applied.
    order: VecDeque<(i64, Arc<str>)>,
}

impl Pending {
    /// Write `zxid` and all before it are applied: the tree itself has them now.
    pub(super) fn forget(&mut self, zxid: i64) {
        while let Some((changed, _)) = self.order.front()
            && *changed <= zxid
        {
            let (_, path) = self.order.pop_front().expect("the front was there just before");
            if self.nodes.get(&path).is_some_and(|(last, _)| *last <= zxid) {
                self.nodes.remove(&path);
            }
        }
    }

    /// Whether nothing is on the way.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.order.is_empty()
    }
}

/// What a write may ask beside its own words.
#[derive(Debug)]
pub(super) struct Preparer<'a> {
    /// What is applied.
    pub(super) tree: &'a Tree,
    /// What is on the way.
    pub(super) pending: &'a mut Pending,
    /// The server's rules.
    pub(super) rules: &'a AclRules,
    /// Whether nodes may have a time to live.
    pub(super) extended_types: bool,
    /// The identities of the connection.
    pub(super) ids: &'a [Id],
    /// Who asks.
    pub(super) session: i64,
    /// The write's number.
    pub(super) zxid: i64,
    /// What this write changed, as it was before, to take it back.
    undo: Vec<(Arc<str>, Option<Last>)>,
}

impl<'a> Preparer<'a> {
    /// For one write.
    pub(super) fn new(
        tree: &'a Tree,
        pending: &'a mut Pending,
        rules: &'a AclRules,
        extended_types: bool,
        ids: &'a [Id],
        (session, zxid): (i64, i64),
    ) -> Preparer<'a> {
        Preparer {
            tree,
            pending,
            rules,
            extended_types,
            ids,
            session,
            zxid,
            undo: Vec::new(),
        }
    }

    /// The transaction that the request comes to; an error is one too.
    pub(super) fn prepare(mut self, request: &Request) -> Txn {
        let txn = match request {
            Request::Create(_, r) => self.create(&r.path, r.data.clone(), &r.acl, r.flags, None),
            Request::CreateTtl(r) => self.create(&r.path, r.data.clone(), &r.acl, r.flags, Some(r.ttl_ms)),
            Request::Delete(r) => self.delete(&r.path, r.version),
            Request::SetData(r) => self.set_data(&r.path, r.data.clone(), r.version),
            Request::SetAcl(r) => self.set_acl(&r.path, &r.acl, r.version),
            Request::Multi(ops) => Ok(self.multi(ops)),
            Request::Reconfig => Err(ErrorCode::RECONFIG_DISABLED),
            Request::CloseSession => Ok(self.close_session()),
            _ => Err(ErrorCode::MARSHALLING_ERROR),
        };
        txn.unwrap_or_else(Txn::Error)
    }

    /// The removal of a container or of a node past its time, unless it came into use again.
    pub(super) fn reap(mut self, path: &str) -> Txn {
        let still_empty = self.view(path).is_some_and(|node| {
            node.children == 0 && matches!(life_of(node.owner), Life::Container | Life::Ttl(_))
        });
        if !still_empty {
            return Txn::Error(ErrorCode::NOT_EMPTY);
        }
        self.unlink(path);
        Txn::Delete {
            path: path.to_owned(),
        }
    }

    fn multi(&mut self, ops: &[MultiOp]) -> Txn {
        let mut parts = Vec::with_capacity(ops.len());
        let mut failed = false;
        for op in ops {
            if failed {
                parts.push(Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY));
                continue;
            }
            let part = match op {
                MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => {
                    self.create(&r.path, r.data.clone(), &r.acl, r.flags, None)
                }
                MultiOp::CreateTtl(r) => {
                    self.create(&r.path, r.data.clone(), &r.acl, r.flags, Some(r.ttl_ms))
                }
                MultiOp::Delete(r) => self.delete(&r.path, r.version),
                MultiOp::SetData(r) => self.set_data(&r.path, r.data.clone(), r.version),
                MultiOp::Check(r) => self.check(&r.path, r.version),
                MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(ErrorCode::MARSHALLING_ERROR),
            };
            failed = part.is_err();
            parts.push(part.unwrap_or_else(Txn::Error));
        }
        if failed {
            self.take_back();
        }
        Txn::Multi(parts)
    }

    fn create(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        flags: i32,
        ttl_ms: Option<i64>,
    ) -> Checked<Txn> {
        let parent_path = path::parent(path).filter(|_| !path.contains('\0'));
        let parent_path = parent_path.ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let acl = self.rules.fix(acl.to_vec(), self.ids)?;
        let mut parent = self.view(parent_path).ok_or(ErrorCode::NO_NODE)?;
        self.may(&parent, perms::CREATE)?;
        let mode = CreateMode::from_flags(flags).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let life = self.life(mode, ttl_ms)?;
        let path = if mode.is_sequential() {
            format!("{path}{:010}", parent.creates)
        } else {
            path.to_owned()
        };
        if !path::is_valid(&path) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if self.view(&path).is_some() {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if life_of(parent.owner) == Life::Ephemeral {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        parent.creates = parent.creates.wrapping_add(1);
        parent.children += 1;
        let parent_creates = parent.creates;
        // A number appended to "/p/" makes a child of /p, whose path the text before it names.
        self.change(parent_path, Some(parent));
        let view = View {
            version: 0,
            aversion: 0,
            creates: 0,
            owner: owner_of(life, self.session),
            children: 0,
            acl: (acl != Acl::open()).then(|| Arc::new(acl.clone())),
        };
        self.change(&path, Some(view));
        Ok(Txn::Create(NewNode {
            path,
            data,
            acl,
            life,
            parent_creates,
        }))
    }

    fn life(&self, mode: CreateMode, ttl_ms: Option<i64>) -> Checked<Life> {
        if mode.is_ttl() {
            if !self.extended_types {
                return Err(ErrorCode::UNIMPLEMENTED);
            }
            return match ttl_ms {
                Some(ttl @ 1..=MAX_TTL_MS) => Ok(Life::Ttl(ttl)),
                _ => Err(ErrorCode::BAD_ARGUMENTS),
            };
        }
        if ttl_ms.is_some_and(|ttl| ttl >= 0) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        Ok(match mode {
            CreateMode::Container => Life::Container,
            mode if mode.is_ephemeral() => Life::Ephemeral,
            _ => Life::Persistent,
        })
    }

    fn delete(&mut self, path: &str, version: i32) -> Checked<Txn> {
        let special = matches!(path, "/" | path::ZOOKEEPER | path::QUOTA);
        let parent = path::parent(path).filter(|_| !special && !path.contains('\0'));
        let parent = self.view(parent.ok_or(ErrorCode::BAD_ARGUMENTS)?);
        let parent = parent.ok_or(ErrorCode::NO_NODE)?;
        let node = self.view(path).ok_or(ErrorCode::NO_NODE)?;
        self.may(&parent, perms::DELETE)?;
        expect_version(version, node.version)?;
        if node.children > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        self.unlink(path);
        Ok(Txn::Delete {
            path: path.to_owned(),
        })
    }

    fn set_data(&mut self, path: &str, data: Option<Bytes>, version: i32) -> Checked<Txn> {
        // It would be the root, but a log with such a record ends the genuine server at its start.
        if path.is_empty() {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let mut node = self.view(path).ok_or(ErrorCode::NO_NODE)?;
        self.may(&node, perms::WRITE)?;
        expect_version(version, node.version)?;
        node.version = node.version.wrapping_add(1);
        let version = node.version;
        self.change(path, Some(node));
        Ok(Txn::SetData {
            path: path.to_owned(),
            data,
            version,
        })
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Checked<Txn> {
        let acl = self.rules.fix(acl.to_vec(), self.ids)?;
        let mut node = self.view(path).ok_or(ErrorCode::NO_NODE)?;
        self.may(&node, perms::ADMIN)?;
        expect_version(version, node.aversion)?;
        node.aversion = node.aversion.wrapping_add(1);
        node.acl = (acl != Acl::open()).then(|| Arc::new(acl.clone()));
        let version = node.aversion;
        self.change(path, Some(node));
        Ok(Txn::SetAcl {
            path: path.to_owned(),
            acl,
            version,
        })
    }

    fn check(&mut self, path: &str, version: i32) -> Checked<Txn> {
        let node = self.view(path).ok_or(ErrorCode::NO_NODE)?;
        self.may(&node, perms::READ)?;
        expect_version(version, node.version)?;
        Ok(Txn::Check {
            path: path.to_owned(),
            version: node.version.wrapping_add(1),
        })
    }

    fn close_session(&mut self) -> Txn {
        let applied = self.tree.ephemerals(self.session);
        let mut paths: BTreeSet<Arc<str>> = applied.cloned().collect();
        for (path, (_, view)) in &self.pending.nodes {
            match view {
                Some(view) if view.owner == self.session => paths.insert(path.clone()),
                _ => paths.remove(path),
            };
        }
        for path in paths {
            self.unlink(&path);
        }
        Txn::CloseSession
    }

    /// The node will be gone and its parent has a child less.
    fn unlink(&mut self, path: &str) {
        if let Some(parent_path) = path::parent(path)
            && let Some(mut parent) = self.view(parent_path)
        {
            parent.children = parent.children.saturating_sub(1);
            self.change(parent_path, Some(parent));
        }
        self.change(path, None);
    }

    fn may(&self, node: &View, need: i32) -> Checked<()> {
        match &node.acl {
            Some(acl) => self.rules.check(acl, need, self.ids),
            None => Ok(()),
        }
    }

    fn view(&self, path: &str) -> Option<View> {
        let path = if path.is_empty() { "/" } else { path };
        match self.pending.nodes.get(path) {
            Some((_, view)) => view.clone(),
            None => self.tree.get(path).map(View::from),
        }
    }

    fn change(&mut self, path: &str, view: Option<View>) {
        let key: Arc<str> = if path.is_empty() { "/" } else { path }.into();
        let before = self.pending.nodes.insert(key.clone(), (self.zxid, view));
        self.pending.order.push_back((self.zxid, key.clone()));
        self.undo.push((key, before));
    }

    /// Makes everything that this write changed as it was.
    fn take_back(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            self.pending.order.pop_back();
            match before {
                Some(before) => self.pending.nodes.insert(key, before),
                None => self.pending.nodes.remove(&key),
            };
        }
    }
}

fn expect_version(expected: i32, actual: i32) -> Checked<()> {
    if expected == -1 || expected == actual {
        Ok(())
    } else {
        Err(ErrorCode::BAD_VERSION)
    }
}

/// Whether the answer to this operation holds the stat of the node that it made.
pub(super) fn answers_with_stat(op: OpCode) -> bool {
    matches!(op, OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl)
}
