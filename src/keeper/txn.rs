//! The changes that are logged, one record each, in the byte form of ZooKeeper 3.4.
//!
//! A transaction is what a request came to after all checks: versions and names in it are final, so
//! that applying it needs no decision. Knows no file and no tree.

use bytes::{BufMut, Bytes, BytesMut};

use crate::jute::{Acl, Error, ErrorCode, OpCode, Reader, Record, Result, codec};

/// What stands before every transaction in the log: 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct TxnHeader {
    /// The session that asked.
    pub(super) session: i64,
    /// Its number of the request.
    pub(super) cxid: i32,
    /// The transaction's number, one more than the one before.
    pub(super) zxid: i64,
    /// Wall time, milliseconds since 1970.
    pub(super) time_ms: i64,
}

/// A new node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewNode {
    /// Its full path.
    pub(super) path: String,
    /// Null and empty are different.
    pub(super) data: Option<Bytes>,
    /// As stored, `auth` replaced.
    pub(super) acl: Vec<Acl>,
    /// What ends its life.
    pub(super) life: Life,
    /// How many children were ever made below the parent, this one included; -1 in the oldest logs:
    /// one more than before.
    pub(super) parent_creates: i32,
}

/// What ends the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// A delete alone.
    Persistent,
    /// The end of the session that made it.
    Ephemeral,
    /// Having no children any more.
    Container,
    /// No change for so many milliseconds.
    Ttl(i64),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Txn {
    /// A session begins; the timeout in milliseconds.
    CreateSession { timeout_ms: i32 },
    /// The session ends and its ephemeral nodes with it.
    CloseSession,
    /// A node is made.
    Create(NewNode),
    /// A node is removed.
    Delete { path: String },
    /// Data is set; `version` is the new one.
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    /// An ACL is set; `version` is the new one.
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    /// A version was checked, in a multi; changes nothing.
    Check { path: String, version: i32 },
    /// All of these; nothing if one of them is an error.
    Multi(Vec<Txn>),
    /// A request that failed.
    Error(ErrorCode),
}

impl Txn {
    fn code(&self) -> i32 {
        let op = match self {
            Txn::CreateSession { .. } => OpCode::CreateSession,
            Txn::CloseSession => OpCode::CloseSession,
            Txn::Create(node) => match node.life {
                Life::Persistent | Life::Ephemeral => OpCode::Create,
                Life::Container => OpCode::CreateContainer,
                Life::Ttl(_) => OpCode::CreateTtl,
            },
            Txn::Delete { .. } => OpCode::Delete,
            Txn::SetData { .. } => OpCode::SetData,
            Txn::SetAcl { .. } => OpCode::SetAcl,
            Txn::Check { .. } => OpCode::Check,
            Txn::Multi(_) => OpCode::Multi,
            Txn::Error(_) => OpCode::Error,
        };
        op.code()
    }

    fn write_body(&self, out: &mut BytesMut) {
        match self {
            Txn::CreateSession { timeout_ms } => timeout_ms.write(out),
            Txn::CloseSession => {}
            Txn::Create(node) => {
                node.path.write(out);
                node.data.write(out);
                node.acl.write(out);
                match node.life {
                    Life::Persistent => false.write(out),
                    Life::Ephemeral => true.write(out),
                    Life::Container | Life::Ttl(_) => {}
                }
                node.parent_creates.write(out);
                if let Life::Ttl(ttl_ms) = node.life {
                    ttl_ms.write(out);
                }
            }
            Txn::Delete { path } => path.write(out),
            Txn::SetData { path, data, version } => {
                path.write(out);
                data.write(out);
                version.write(out);
            }
            Txn::SetAcl { path, acl, version } => {
                path.write(out);
                acl.write(out);
                version.write(out);
            }
            Txn::Check { path, version } => {
                path.write(out);
                version.write(out);
            }
            Txn::Multi(parts) => {
                codec::put_count(out, parts.len());
                for part in parts {
                    out.put_i32(part.code());
                    let at = out.len();
                    out.put_i32(0);
                    part.write_body(out);
                    let len = i32::try_from(out.len() - at - 4).expect("bounded by the request's size");
                    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
                }
            }
            Txn::Error(code) => code.write(out),
        }
    }

    fn read_body(code: i32, r: &mut Reader) -> Result<Txn> {
        Ok(match OpCode::from_i32(code) {
            Some(OpCode::CreateSession) => Txn::CreateSession { timeout_ms: r.i32()? },
            // From 3.6 on the paths of the deleted nodes follow; the tree knows them itself.
            Some(OpCode::CloseSession) => Txn::CloseSession,
            Some(OpCode::Create | OpCode::Create2) => Txn::Create(read_create(r)?),
            Some(OpCode::CreateContainer) => Txn::Create(NewNode {
                path: Record::read(r)?,
                data: Record::read(r)?,
                acl: read_acl(r)?,
                life: Life::Container,
                parent_creates: r.i32()?,
            }),
            Some(OpCode::CreateTtl) => {
                let mut node = NewNode {
                    path: Record::read(r)?,
                    data: Record::read(r)?,
                    acl: read_acl(r)?,
                    life: Life::Persistent,
                    parent_creates: r.i32()?,
                };
                node.life = Life::Ttl(r.i64()?);
                Txn::Create(node)
            }
            Some(OpCode::Delete | OpCode::DeleteContainer) => Txn::Delete {
                path: Record::read(r)?,
            },
            Some(OpCode::SetData | OpCode::Reconfig) => Txn::SetData {
                path: Record::read(r)?,
                data: Record::read(r)?,
                version: r.i32()?,
            },
            Some(OpCode::SetAcl) => Txn::SetAcl {
                path: Record::read(r)?,
                acl: read_acl(r)?,
                version: r.i32()?,
            },
            Some(OpCode::Check) => Txn::Check {
                path: Record::read(r)?,
                version: r.i32()?,
            },
            Some(OpCode::Error) => Txn::Error(Record::read(r)?),
            Some(OpCode::Multi) => {
                let mut parts = Vec::new();
                for _ in 0..r.i32()? {
                    let code = r.i32()?;
                    let body = r.nullable_bytes()?.unwrap_or_default();
                    if code == OpCode::Multi.code() {
                        return Err(unknown(r, code));
                    }
                    parts.push(Txn::read_body(code, &mut Reader::new(body))?);
                }
                Txn::Multi(parts)
            }
            _ => return Err(unknown(r, code)),
        })
    }
}

/// The oldest form lacks the last field.
fn read_create(r: &mut Reader) -> Result<NewNode> {
    let path = Record::read(r)?;
    let data = Record::read(r)?;
    let acl = read_acl(r)?;
    let life = if bool::read(r)? {
        Life::Ephemeral
    } else {
        Life::Persistent
    };
    let parent_creates = if r.remaining() < 4 { -1 } else { r.i32()? };
    Ok(NewNode {
        path,
        data,
        acl,
        life,
        parent_creates,
    })
}

/// A null ACL means the open one.
fn read_acl(r: &mut Reader) -> Result<Vec<Acl>> {
    let mut ahead = r.clone();
    if ahead.i32()? == -1 {
        *r = ahead;
        return Ok(Acl::open());
    }
    Record::read(r)
}

fn unknown(r: &Reader, code: i32) -> Error {
    Error::Value {
        at: r.position(),
        what: "type of a transaction",
        value: code.into(),
    }
}

/// Appends header and body: the entry of a log record.
pub(super) fn write_entry(header: &TxnHeader, txn: &Txn, out: &mut BytesMut) {
    header.session.write(out);
    header.cxid.write(out);
    header.zxid.write(out);
    header.time_ms.write(out);
    txn.code().write(out);
    txn.write_body(out);
}

/// Reads the entry of a log record. What follows the body (a digest, from 3.6 on) is ignored.
pub(super) fn read_entry(entry: Bytes) -> Result<(TxnHeader, Txn)> {
    let r = &mut Reader::new(entry);
    let header = TxnHeader {
        session: r.i64()?,
        cxid: r.i32()?,
        zxid: r.i64()?,
        time_ms: r.i64()?,
    };
    let code = r.i32()?;
    Ok((header, Txn::read_body(code, r)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(life: Life) -> Txn {
        Txn::Create(NewNode {
            path: "/a".into(),
            data: None,
            acl: Acl::open(),
            life,
            parent_creates: 7,
        })
    }

    fn round_trip(txn: Txn) {
        let header = TxnHeader {
            session: 1,
            cxid: 2,
            zxid: 3,
            time_ms: 4,
        };
        let mut out = BytesMut::new();
        write_entry(&header, &txn, &mut out);
        out.put_slice(&[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(read_entry(out.freeze()).unwrap(), (header, txn));
    }

    #[test]
    fn entries_read_back_with_a_digest_behind_them() {
        for life in [Life::Persistent, Life::Ephemeral, Life::Container, Life::Ttl(5)] {
            round_trip(node(life));
        }
        round_trip(Txn::CloseSession);
        round_trip(Txn::Multi(vec![
            node(Life::Ephemeral),
            Txn::Check {
                path: "/a".into(),
                version: 1,
            },
            Txn::Error(ErrorCode::NO_NODE),
        ]));
    }

    #[test]
    fn a_create_of_the_oldest_form_counts_on_its_parent() {
        let mut out = BytesMut::new();
        write_entry(&TxnHeader::default(), &node(Life::Persistent), &mut out);
        out.truncate(out.len() - 4);
        match read_entry(out.freeze()).unwrap().1 {
            Txn::Create(node) => assert_eq!(node.parent_creates, -1),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_multi_inside_a_multi_is_refused() {
        let mut out = BytesMut::new();
        write_entry(
            &TxnHeader::default(),
            &Txn::Multi(vec![Txn::Multi(vec![])]),
            &mut out,
        );
        assert!(read_entry(out.freeze()).is_err());
    }
}
