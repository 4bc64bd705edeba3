//! From files to the tree: the newest good snapshot and every later transaction of the logs.
//!
//! What was acknowledged is found again. A log may end in a record that was cut short, for the server
//! that wrote it died; reading goes on with the next file. A record with a wrong checksum is cut off
//! if it is the very last thing in the logs, for then it was never acknowledged or the disk lied;
//! otherwise the start is refused.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use ::log::{error, info, warn};

use crate::util::fs::Context;

use super::error::{Error, Result};
use super::files::{self, Kind};
use super::snapshot::{self, SessionTimeouts};
use super::tree::Tree;
use super::txn::{Txn, TxnHeader};
use super::txn_log::{LogReader, Next};

/// How many snapshots are tried.
const CANDIDATES: usize = 100;

/// What the files held.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The tree after the last transaction.
    pub(super) tree: Tree,
    /// The sessions that were alive.
    pub(super) sessions: SessionTimeouts,
    /// How many transactions came from the logs.
    pub(super) replayed: u64,
}

/// Reads everything. `snapshots` and `logs` are the `version-2` folders, which may be one.
///
/// A first start leaves a snapshot of the empty tree, as later ZooKeepers want to see one.
pub(super) fn recover(snapshots: &Path, logs: &Path) -> Result<Recovered> {
    let log_files = files::list(logs, Kind::Log)?;
    let mut found = match newest_snapshot(snapshots)? {
        Some(found) => found,
        None => {
            if let Some((zxid, path)) = log_files.first()
                && *zxid > 1
            {
                return Err(Error::LogsMissing { first: path.clone() });
            }
            let empty = Tree::default();
            if log_files.is_empty() {
                snapshot::write(snapshots, 0, &snapshot::encode(&empty, &SessionTimeouts::new()))?;
            }
            (empty, SessionTimeouts::new())
        }
    };
    found.0.arm_quotas();
    let mut recovered = Recovered {
        tree: found.0,
        sessions: found.1,
        replayed: 0,
    };
    replay(&mut recovered, &log_files)?;
    forget_orphans(&mut recovered);
    Ok(recovered)
}

fn newest_snapshot(dir: &Path) -> Result<Option<(Tree, SessionTimeouts)>> {
    let found = files::list(dir, Kind::Snapshot)?;
    let mut seen_any = false;
    for (zxid, path) in found.into_iter().rev().take(CANDIDATES) {
        seen_any = true;
        if !snapshot::looks_whole(&path)? {
            warn!("{} is not whole, trying an older snapshot", path.display());
            continue;
        }
        info!("Reading snapshot {}", path.display());
        match snapshot::read(&path) {
            Ok((mut tree, sessions)) => {
                tree.set_last_zxid(zxid);
                return Ok(Some((tree, sessions)));
            }
            Err(e @ Error::Storage(_)) => return Err(e),
            Err(e) => warn!("problem reading snap file {}: {e}", path.display()),
        }
    }
    if seen_any {
        return Err(Error::NoValidSnapshot { dir: dir.to_owned() });
    }
    Ok(None)
}

fn replay(into: &mut Recovered, logs: &[(i64, PathBuf)]) -> Result<()> {
    let from = into.tree.last_zxid();
    // The last file that begins at or before the snapshot may go on behind it.
    let first = logs.iter().rposition(|(zxid, _)| *zxid <= from).unwrap_or(0);
    let logs = &logs[first..];
    for (i, (_, path)) in logs.iter().enumerate() {
        let mut reader = LogReader::open(path)?;
        loop {
            match reader.next()? {
                Next::Record(header, _) if header.zxid <= from => {}
                Next::Record(header, txn) => apply(into, &header, &txn, path),
                Next::End => break,
                Next::Damaged { at, after } => {
                    let last = i + 1 == logs.len();
                    if !last || !matches!(after_damage(&mut reader, after)?, Next::End) {
                        return Err(Error::Corrupt {
                            file: path.clone(),
                            at,
                            what: "wrong checksum".to_owned(),
                        });
                    }
                    cut(path, at)?;
                    break;
                }
            }
        }
    }
    Ok(())
}

fn after_damage(reader: &mut LogReader, after: u64) -> Result<Next> {
    reader.seek(after)?;
    reader.next()
}

fn cut(path: &Path, at: u64) -> Result<()> {
    error!(
        "The last record of {} has a wrong checksum: cutting the file at byte {at}. \
         What the record held is lost",
        path.display()
    );
    let file = OpenOptions::new().write(true).open(path).during("open", path)?;
    file.set_len(at).during("truncate", path)?;
    file.sync_all().during("fsync", path)?;
    Ok(())
}

fn apply(into: &mut Recovered, header: &TxnHeader, txn: &Txn, path: &Path) {
    let last = into.tree.last_zxid();
    let same_epoch = header.zxid >> 32 == last >> 32;
    if header.zxid <= last || (same_epoch && header.zxid != last + 1) {
        warn!(
            "{}: transaction 0x{:x} follows 0x{last:x}",
            path.display(),
            header.zxid
        );
    }
    match txn {
        Txn::CreateSession { timeout_ms } => {
            into.sessions.insert(header.session, *timeout_ms);
        }
        Txn::CloseSession => {
            into.sessions.remove(&header.session);
        }
        _ => {}
    }
    into.tree.apply(header, txn, &mut Vec::new());
    into.replayed += 1;
}

/// Ephemeral nodes whose session is gone go without a transaction, as ZooKeeper has it.
fn forget_orphans(recovered: &mut Recovered) {
    let orphans: Vec<i64> = recovered
        .tree
        .all_ephemerals()
        .map(|(session, _)| session)
        .filter(|session| !recovered.sessions.contains_key(session))
        .collect();
    let zxid = recovered.tree.last_zxid();
    for session in orphans {
        warn!("Removing the ephemeral nodes of session 0x{session:x}, which is over");
        recovered.tree.end_session(session, zxid, &mut Vec::new());
    }
}
