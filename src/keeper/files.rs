//! Names of the files in `version-2`: logs and snapshots, each with a transaction's number in
//! hexadecimal.

use std::path::{Path, PathBuf};

use crate::util::fs::{Context, Result};

/// The folder below the data directory that holds this format.
pub(super) const VERSION: &str = "version-2";

/// The two kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Transactions; the number is that of the first one.
    Log,
    /// The tree; the number is that of the last transaction in it.
    Snapshot,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Log => "log.",
            Kind::Snapshot => "snapshot.",
        }
    }

    /// The file of that number.
    pub(super) fn path(self, dir: &Path, zxid: i64) -> PathBuf {
        dir.join(format!("{}{zxid:x}", self.prefix()))
    }
}

/// All files of a kind with their numbers, in order of these. A directory that is not there is empty.
pub(super) fn list(dir: &Path, kind: Kind) -> Result<Vec<(i64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        other => other.during("list", dir)?,
    };
    for entry in entries {
        let path = entry.during("list", dir)?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix(kind.prefix()))
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if let Some(number) = number {
            found.push((number as i64, path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_by_number_and_others_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "log.10",
            "log.9",
            "log.a",
            "snapshot.9",
            "log.x",
            "keeper.lock",
            "log.9.tmp",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let numbers: Vec<_> = list(dir.path(), Kind::Log)
            .unwrap()
            .into_iter()
            .map(|f| f.0)
            .collect();
        assert_eq!(numbers, [9, 10, 16]);
        assert!(list(&dir.path().join("none"), Kind::Log).unwrap().is_empty());
    }
}
