//! Removing snapshots and logs that recovery no longer needs.

use std::path::{Path, PathBuf};

use ::log::info;

use crate::util::fs::{self, Result};

use super::files::{self, Kind};

/// Keeps the newest `keep` snapshots and every log that one of them may need; removes the rest and
/// returns what was removed.
///
/// Nothing goes while there are fewer snapshots than that.
pub(super) fn purge(snapshots: &Path, logs: &Path, keep: usize) -> Result<Vec<PathBuf>> {
    let snapshot_files = files::list(snapshots, Kind::Snapshot)?;
    let Some(surplus) = snapshot_files.len().checked_sub(keep.max(1)) else {
        return Ok(Vec::new());
    };
    let (oldest_kept, _) = snapshot_files[surplus];
    let log_files = files::list(logs, Kind::Log)?;
    // The log that begins at or before the snapshot holds what comes right after it.
    let needed_from = log_files
        .iter()
        .rev()
        .map(|(zxid, _)| *zxid)
        .find(|zxid| *zxid <= oldest_kept)
        .unwrap_or(0);
    let old_logs = log_files.into_iter().filter(|(zxid, _)| *zxid < needed_from);
    let old_snapshots = snapshot_files.into_iter().take(surplus);
    let mut removed = Vec::new();
    for (_, path) in old_logs.chain(old_snapshots) {
        info!("Removing file: {}", path.display());
        fs::remove_file(&path)?;
        removed.push(path);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_that_the_oldest_kept_snapshot_continues_in_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "log.1",
            "log.5",
            "log.9",
            "snapshot.0",
            "snapshot.4",
            "snapshot.7",
            "snapshot.9",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths
                .iter()
                .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        let removed = purge(dir.path(), dir.path(), 2).unwrap();
        assert_eq!(names(removed), ["log.1", "snapshot.0", "snapshot.4"]);
        assert!(purge(dir.path(), dir.path(), 3).unwrap().is_empty());
    }
}
