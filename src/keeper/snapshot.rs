//! Snapshots: the whole tree and the sessions, in the byte form of ZooKeeper 3.4.
//!
//! ```text
//! magic ZKSN, version 2, database id -1
//! sessions  count, then id and timeout each
//! ACLs      count, then key and list each; key -1 is the open ACL and not listed
//! nodes     path, data, ACL key, stat; a parent before its children; the root's path is empty
//! "/"       ends the nodes
//! checksum  Adler-32 of all before, then "/" again
//! ```
//!
//! The file is named for the last transaction in it. It is written under another name, made durable
//! and renamed, so that a snapshot is either whole or not there.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::jute::{Acl, Reader, Record, codec};
use crate::util::fs::{self, Context};

use super::checksum::adler32;
use super::error::{Error, Result};
use super::files::Kind;
use super::tree::{Node, Tree};

const MAGIC: i32 = i32::from_be_bytes(*b"ZKSN");
const VERSION: i32 = 2;
/// What every snapshot ends with: the text "/".
const TAIL: [u8; 5] = [0, 0, 0, 1, b'/'];
const OPEN_ACL: i64 = -1;

/// Sessions with their timeouts in milliseconds.
pub(super) type SessionTimeouts = BTreeMap<i64, i32>;

/// The bytes of a snapshot.
pub(super) fn encode(tree: &Tree, sessions: &SessionTimeouts) -> BytesMut {
    let mut out = BytesMut::with_capacity(tree.size() + tree.len() * 100 + 256);
    out.put_i32(MAGIC);
    out.put_i32(VERSION);
    out.put_i64(-1);
    codec::put_count(&mut out, sessions.len());
    for (id, timeout_ms) in sessions {
        id.write(&mut out);
        timeout_ms.write(&mut out);
    }
    let keys = write_acls(tree, &mut out);
    for (path, node) in tree.walk() {
        codec::put_text(&mut out, if path == "/" { "" } else { path });
        crate::util::codec::put_bytes(&mut out, node.data.as_deref());
        out.put_i64(node.acl.as_ref().map_or(OPEN_ACL, |acl| keys[&Arc::as_ptr(acl)]));
        for value in [node.czxid, node.mzxid, node.ctime, node.mtime] {
            out.put_i64(value);
        }
        for value in [node.version, node.creates, node.aversion] {
            out.put_i32(value);
        }
        out.put_i64(node.owner);
        out.put_i64(node.pzxid);
    }
    out.put_slice(&TAIL);
    let sum = adler32(&out);
    out.put_i64(sum);
    out.put_slice(&TAIL);
    out
}

/// Each ACL is one shared object, so that its address names it.
fn write_acls(tree: &Tree, out: &mut BytesMut) -> HashMap<*const Vec<Acl>, i64> {
    let mut keys = HashMap::new();
    let mut lists = Vec::new();
    for (_, node) in tree.walk() {
        if let Some(acl) = &node.acl {
            keys.entry(Arc::as_ptr(acl)).or_insert_with(|| {
                lists.push(acl);
                lists.len() as i64
            });
        }
    }
    codec::put_count(out, lists.len());
    for (key, acl) in (1i64..).zip(lists) {
        key.write(out);
        acl.write(out);
    }
    keys
}

/// Where a snapshot is written before it has its name. One at a time: the next one takes the place of
/// one that was not finished.
const UNFINISHED: &str = "unfinished.snapshot";

/// Makes the snapshot of transaction `zxid` durable.
pub(super) fn write(dir: &Path, zxid: i64, bytes: &[u8]) -> fs::Result<PathBuf> {
    let path = Kind::Snapshot.path(dir, zxid);
    let unfinished = dir.join(UNFINISHED);
    {
        let mut file = File::create(&unfinished).during("create", &unfinished)?;
        file.write_all(bytes).during("write", &unfinished)?;
        file.sync_all().during("fsync", &unfinished)?;
    }
    fs::rename(&unfinished, &path)?;
    fs::sync_dir(dir)?;
    Ok(path)
}

/// Whether the file at least ends like a snapshot.
pub(super) fn looks_whole(path: &Path) -> fs::Result<bool> {
    let mut file = File::open(path).during("open", path)?;
    let len = file.seek(SeekFrom::End(0)).during("seek", path)?;
    let mut tail = TAIL;
    tail.fill(0);
    if len < 10 {
        return Ok(false);
    }
    fs::read_at(&file, &mut tail, len - 5).during("read", path)?;
    Ok(tail == TAIL)
}

/// Reads a snapshot back. The tree's last transaction is not set: the file's name tells it.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Undecodable`] if anything is not as written.
pub(super) fn read(path: &Path) -> Result<(Tree, SessionTimeouts)> {
    let bytes = Bytes::from(std::fs::read(path).during("read", path)?);
    let mut r = Reader::new(bytes.clone());
    let read = decode(&mut r, &bytes);
    let at = r.position() as u64;
    let file = path.to_owned();
    match read {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(what)) => Err(Error::Corrupt { file, at, what }),
        Err(source) => Err(Error::Undecodable { file, at, source }),
    }
}

type Decoded = std::result::Result<(Tree, SessionTimeouts), String>;

fn decode(r: &mut Reader, bytes: &[u8]) -> crate::jute::Result<Decoded> {
    if (r.i32()?, r.i32()?) != (MAGIC, VERSION) {
        return Ok(Err("it is no snapshot".to_owned()));
    }
    r.i64()?;
    let mut sessions = SessionTimeouts::new();
    for _ in 0..r.i32()? {
        sessions.insert(r.i64()?, r.i32()?);
    }
    let mut acls = HashMap::new();
    for _ in 0..r.i32()? {
        acls.insert(r.i64()?, Arc::new(Vec::<Acl>::read(r)?));
    }
    let mut tree = Tree::bare();
    loop {
        let path = String::read(r)?;
        if path == "/" {
            break;
        }
        let node = read_node(r, &acls)?;
        if tree.restore(&path, node).is_err() {
            return Ok(Err(format!("{path} comes before its parent")));
        }
    }
    let summed = r.position();
    if r.i64()? != adler32(&bytes[..summed]) {
        return Ok(Err("wrong checksum".to_owned()));
    }
    Ok(Ok((tree, sessions)))
}

fn read_node(r: &mut Reader, acls: &HashMap<i64, Arc<Vec<Acl>>>) -> crate::jute::Result<Node> {
    let data = r.nullable_bytes()?.map(|data| Box::from(&data[..]));
    let key = r.i64()?;
    Ok(Node {
        data,
        acl: acls.get(&key).cloned(),
        czxid: r.i64()?,
        mzxid: r.i64()?,
        ctime: r.i64()?,
        mtime: r.i64()?,
        version: r.i32()?,
        creates: r.i32()?,
        aversion: r.i32()?,
        owner: r.i64()?,
        pzxid: r.i64()?,
        ..Node::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::txn::{Life, NewNode, Txn, TxnHeader};

    fn sample() -> Tree {
        let mut tree = Tree::default();
        for (zxid, path, acl) in [
            (1, "/a", Acl::open()),
            (2, "/a/b", vec![Acl::new(1, "digest", "u:x")]),
            (3, "/a-b", vec![Acl::new(1, "digest", "u:x")]),
        ] {
            let header = TxnHeader {
                session: 77,
                zxid,
                time_ms: 1000,
                ..TxnHeader::default()
            };
            let txn = Txn::Create(NewNode {
                path: path.into(),
                data: (zxid != 1).then(|| Bytes::from_static(b"x")),
                acl,
                life: if zxid == 2 {
                    Life::Ephemeral
                } else {
                    Life::Persistent
                },
                parent_creates: -1,
            });
            tree.apply(&header, &txn, &mut Vec::new());
        }
        tree
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = SessionTimeouts::from([(77, 4000)]);
        let bytes = encode(&sample(), &sessions);
        let path = write(dir.path(), 3, &bytes).unwrap();
        assert!(path.ends_with("snapshot.3"));
        assert!(looks_whole(&path).unwrap());
        let (tree, read_sessions) = read(&path).unwrap();
        assert_eq!(read_sessions, sessions);
        assert_eq!(encode(&tree, &sessions), bytes);
        assert_eq!(tree.ephemerals(77).count(), 1);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = encode(&sample(), &SessionTimeouts::new());
        let path = dir.path().join("snapshot.3");
        // The database id and what follows the checksum mean nothing.
        for at in (0..8).chain(16..bytes.len() - 5) {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x10;
            std::fs::write(&path, flipped).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
        }
    }
}
