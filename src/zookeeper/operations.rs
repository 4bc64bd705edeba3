//! The operations of a session, each one request to the server.
//!
//! A write that was sent again after a lost connection may meet its own first sending; each method
//! says what it makes of that.

use bytes::{Bytes, BytesMut};

use super::core::Answer;
use super::error::{Error, Result};
use super::session::Session;
use super::watch::{Watch, WatchKind};
use crate::jute::{
    Acl, CheckRequest, Children2Response, ChildrenResponse, CreateMode, CreateRequest, DeleteRequest,
    ErrorCode, GetAclResponse, GetDataResponse, MultiOp, MultiResult, OpCode, PathRecord, Reader, Record,
    SetAclRequest, SetDataRequest, Stat, WatchableRequest, read_multi_results, write_multi,
};

/// A node that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data; none for null, which is not the same as empty.
    pub data: Option<Bytes>,
    /// All else.
    pub stat: Stat,
}

/// One write of a multi, with paths as the session's user knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make a node, open to everyone.
    Create {
        /// Where.
        path: String,
        /// None for null.
        data: Option<Bytes>,
        /// How.
        mode: CreateMode,
    },
    /// Remove a node.
    Delete {
        /// Which.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Set a node's data.
    Set {
        /// Which.
        path: String,
        /// What.
        data: Bytes,
        /// The version it must have; -1 for any.
        version: i32,
    },
    /// Fail unless the node has that version.
    Check {
        /// Which.
        path: String,
        /// The version it must have.
        version: i32,
    },
}

/// What an [`Op`] of a successful multi gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// The node's name.
    Created(String),
    /// The node is gone.
    Deleted,
    /// The node's new stat.
    Set(Stat),
    /// The version was as expected.
    Checked,
}

/// The answer's body, or nothing if the node is not there.
fn found<T: Record>(answer: Answer) -> Result<Option<T>> {
    match answer.err {
        ErrorCode::OK => Ok(Some(T::parse(answer.body)?)),
        ErrorCode::NO_NODE => Ok(None),
        other => Err(other.into()),
    }
}

/// The answer's body.
fn body<T: Record>(answer: Answer) -> Result<T> {
    answer.err.into_result()?;
    Ok(T::parse(answer.body)?)
}

impl Session {
    /// Data and stat of a node; none if it is not there.
    pub async fn get(&self, path: &str) -> Result<Option<Node>> {
        let request = watchable(self.full(path)?, false);
        let answer = self.call(OpCode::GetData, &request).await?;
        Ok(found::<GetDataResponse>(answer)?.map(node))
    }

    /// As [`Session::get`], with a watch for the next change of the node's data or being. If the node
    /// is not there, the watch fires when it is made.
    pub async fn get_watched(&self, path: &str) -> Result<(Option<Node>, Watch)> {
        let full = self.full(path)?;
        let request = watchable(full.clone(), true);
        loop {
            let read = self.call_watched(OpCode::GetData, &request, WatchKind::Data, &full);
            let (answer, watch) = read.await?;
            if let Some(found) = found(answer)? {
                return Ok((Some(node(found)), watch));
            }
            if let (None, watch) = self.exists_watched(path).await? {
                return Ok((None, watch));
            }
        }
    }

    /// The stat of a node; none if it is not there.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>> {
        let request = watchable(self.full(path)?, false);
        found(self.call(OpCode::Exists, &request).await?)
    }

    /// As [`Session::exists`], with a watch for the next change of the node's data or being.
    pub async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Watch)> {
        let full = self.full(path)?;
        let request = watchable(full.clone(), true);
        let read = self.call_watched(OpCode::Exists, &request, WatchKind::Exist, &full);
        let (answer, watch) = read.await?;
        Ok((found(answer)?, watch))
    }

    /// Names of a node's children, in no order, and its stat; none if it is not there.
    pub async fn children(&self, path: &str) -> Result<Option<(Vec<String>, Stat)>> {
        let request = watchable(self.full(path)?, false);
        let answer = self.call(OpCode::GetChildren2, &request).await?;
        Ok(found::<Children2Response>(answer)?.map(|r| (r.children, r.stat)))
    }

    /// Names of a node's children, in no order, with a watch for the next child that comes or goes.
    /// If the node is not there, the watch fires when it is made.
    pub async fn children_watched(&self, path: &str) -> Result<(Option<Vec<String>>, Watch)> {
        let full = self.full(path)?;
        let request = watchable(full.clone(), true);
        loop {
            let read = self.call_watched(OpCode::GetChildren, &request, WatchKind::Child, &full);
            let (answer, watch) = read.await?;
            if let Some(found) = found::<ChildrenResponse>(answer)? {
                return Ok((Some(found.children), watch));
            }
            if let (None, watch) = self.exists_watched(path).await? {
                return Ok((None, watch));
            }
        }
    }

    /// Makes a node that is open to everyone, and returns its name, which for sequential modes ends
    /// with ten digits.
    ///
    /// Sent again, it counts as done if a node is there that has this data and, if ephemeral, this
    /// owner. A sequential node may then have been made twice.
    ///
    /// # Errors
    /// [`Error::NodeExists`]; [`Error::NoNode`] if the parent is missing.
    pub async fn create(&self, path: &str, data: Option<&[u8]>, mode: CreateMode) -> Result<String> {
        self.create_with_acl(path, data, mode, Acl::open()).await
    }

    /// As [`Session::create`], with an access control list.
    pub async fn create_with_acl(
        &self,
        path: &str,
        data: Option<&[u8]>,
        mode: CreateMode,
        acl: Vec<Acl>,
    ) -> Result<String> {
        let sequential = is_sequential(mode);
        let request = CreateRequest {
            path: if sequential {
                self.full_sequential(path)?
            } else {
                self.full(path)?
            },
            data: data.map(Bytes::copy_from_slice),
            acl,
            flags: mode as i32,
        };
        let answer = self.call(OpCode::Create, &request).await?;
        if answer.err == ErrorCode::NODE_EXISTS && answer.retried && !sequential {
            let owner = match mode {
                CreateMode::Ephemeral => self.session_id(),
                _ => 0,
            };
            return match self.get(path).await? {
                Some(node) if node.stat.ephemeral_owner == owner && node.data == request.data => {
                    Ok(path.to_owned())
                }
                _ => Err(Error::NodeExists),
            };
        }
        let made: PathRecord = body(answer)?;
        Ok(self.relative(made.path))
    }

    /// Sets a node's data; `version` is the version it must have, -1 for any.
    ///
    /// Sent again, a conditional set counts as done if the node has this data and the version after
    /// `version`.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadVersion`].
    pub async fn set(&self, path: &str, data: &[u8], version: i32) -> Result<Stat> {
        let request = SetDataRequest {
            path: self.full(path)?,
            data: Some(Bytes::copy_from_slice(data)),
            version,
        };
        let answer = self.call(OpCode::SetData, &request).await?;
        if answer.err == ErrorCode::BAD_VERSION && answer.retried {
            return match self.get(path).await? {
                Some(node) if node.stat.version == version.wrapping_add(1) && node.data == request.data => {
                    Ok(node.stat)
                }
                _ => Err(Error::BadVersion),
            };
        }
        body(answer)
    }

    /// Removes a node without children; `version` is the version it must have, -1 for any.
    ///
    /// Sent again, it counts as done if the node is not there.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadVersion`], [`Error::NotEmpty`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<()> {
        let request = DeleteRequest {
            path: self.full(path)?,
            version,
        };
        let answer = self.call(OpCode::Delete, &request).await?;
        if answer.err == ErrorCode::NO_NODE && answer.retried {
            return Ok(());
        }
        Ok(answer.err.into_result()?)
    }

    /// Does all writes or none.
    ///
    /// # Errors
    /// [`Error::Multi`] if one fails.
    pub async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>> {
        let ops = ops
            .into_iter()
            .map(|op| self.multi_op(op))
            .collect::<Result<Vec<_>>>()?;
        let mut request = BytesMut::new();
        write_multi(&ops, &mut request);
        let answer = self.request(OpCode::Multi, request.freeze(), None).await?;
        answer.err.into_result()?;
        let results = read_multi_results(&mut Reader::new(answer.body))?;
        let failed = |result: &MultiResult| match result {
            MultiResult::Error(code) if *code != ErrorCode::OK => Some(*code),
            _ => None,
        };
        if let Some((at, code)) = results
            .iter()
            .enumerate()
            .find_map(|(at, r)| Some((at, failed(r)?)))
        {
            let retried = answer.retried;
            return Err(Error::Multi { at, code, retried });
        }
        Ok(results.into_iter().map(|r| self.op_result(r)).collect())
    }

    fn multi_op(&self, op: Op) -> Result<MultiOp> {
        Ok(match op {
            Op::Create { path, data, mode } => MultiOp::Create(CreateRequest {
                path: if is_sequential(mode) {
                    self.full_sequential(&path)?
                } else {
                    self.full(&path)?
                },
                data,
                acl: Acl::open(),
                flags: mode as i32,
            }),
            Op::Delete { path, version } => MultiOp::Delete(DeleteRequest {
                path: self.full(&path)?,
                version,
            }),
            Op::Set { path, data, version } => MultiOp::SetData(SetDataRequest {
                path: self.full(&path)?,
                data: Some(data),
                version,
            }),
            Op::Check { path, version } => MultiOp::Check(CheckRequest {
                path: self.full(&path)?,
                version,
            }),
        })
    }

    fn op_result(&self, result: MultiResult) -> OpResult {
        match result {
            MultiResult::Create(made) => OpResult::Created(self.relative(made.path)),
            MultiResult::Create2(made) => OpResult::Created(self.relative(made.path)),
            MultiResult::Delete => OpResult::Deleted,
            MultiResult::SetData(stat) => OpResult::Set(stat),
            _ => OpResult::Checked,
        }
    }

    /// A node's access control list and stat.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub async fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let request = PathRecord {
            path: self.full(path)?,
        };
        let response: GetAclResponse = body(self.call(OpCode::GetAcl, &request).await?)?;
        Ok((response.acl, response.stat))
    }

    /// Sets a node's access control list; `version` is that of the old list, -1 for any.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadVersion`], [`Error::Server`] for an illegal list.
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Result<Stat> {
        let request = SetAclRequest {
            path: self.full(path)?,
            acl,
            version,
        };
        body(self.call(OpCode::SetAcl, &request).await?)
    }

    /// Returns when the server has applied all that was written anywhere before the call.
    pub async fn sync(&self, path: &str) -> Result<()> {
        let request = PathRecord {
            path: self.full(path)?,
        };
        let answer = self.call(OpCode::Sync, &request).await?;
        Ok(answer.err.into_result()?)
    }
}

fn watchable(path: String, watch: bool) -> WatchableRequest {
    WatchableRequest { path, watch }
}

fn node(response: GetDataResponse) -> Node {
    Node {
        data: response.data,
        stat: response.stat,
    }
}

fn is_sequential(mode: CreateMode) -> bool {
    matches!(
        mode,
        CreateMode::PersistentSequential
            | CreateMode::EphemeralSequential
            | CreateMode::PersistentSequentialWithTtl
    )
}
