//! Which broker this is: the id of the configuration, the one that the data directories remember in
//! `meta.properties`, or a new one from ZooKeeper's counter. Knows nothing else of the directories.
//!
//! ```text
//! #
//! #Thu Feb 11 14:13:20 UTC 2016
//! version=0
//! broker.id=1001
//! ```

use std::path::{Path, PathBuf};

use ::log::warn;

use crate::config::Properties;
use crate::util::clock::{Clock, WallMs};
use crate::util::fs;
use crate::zookeeper::{self, Session, paths};

/// The file's name in each data directory.
pub const META_FILE: &str = "meta.properties";

/// Why this broker cannot say who it is. Texts are Kafka's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two directories remember different ids.
    #[error("Failed to match brokerId across logDirs: {}", list(.0))]
    Directories(Vec<(PathBuf, i32)>),
    /// The configuration says another id than the directories.
    #[error(
        "Configured brokerId {configured} doesn't match stored brokerId {stored} in {META_FILE}. If the data directory belongs to another broker, point log.dirs elsewhere; if this broker was renumbered on purpose, remove {META_FILE} from each log directory"
    )]
    Configured {
        /// `broker.id`.
        configured: i32,
        /// What the files say.
        stored: i32,
    },
    /// Written by something newer.
    #[error("Unrecognized version of the server {META_FILE} file: {version} ({})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its `version`.
        version: String,
    },
    /// Neither empty nor understood.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The counter in ZooKeeper could not be raised.
    #[error("Failed to generate broker.id: {0}")]
    Generate(#[source] zookeeper::Error),
    /// Generation is off and no id is given.
    #[error("broker.id must be equal or greater than 0")]
    NoId,
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// Result of finding the identity.
pub type Result<T> = std::result::Result<T, Error>;

fn list(found: &[(PathBuf, i32)]) -> String {
    let each: Vec<_> = found
        .iter()
        .map(|(dir, id)| format!("{} says {id}", dir.display()))
        .collect();
    each.join(", ")
}

/// What decides the id besides the files.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// `broker.id`; -1 when none is given.
    pub configured: i32,
    /// `broker.id.generation.enable`.
    pub generate: bool,
    /// `reserved.broker.max.id`: generated ids start above it.
    pub reserved_max: i32,
}

/// This broker's id. Afterwards every directory remembers it.
pub async fn establish(dirs: &[PathBuf], wishes: Wishes, zookeeper: &Session, clock: &Clock) -> Result<i32> {
    let stored = remembered(dirs)?;
    let id = match decide(wishes, &stored)? {
        Some(id) => id,
        None => generate(zookeeper, wishes.reserved_max).await?,
    };
    for dir in dirs {
        if !stored.iter().any(|(d, _)| d == dir) {
            remember(dir, id, clock.wall())?;
        }
    }
    Ok(id)
}

/// The id to take, or `None` if one is to be generated.
fn decide(wishes: Wishes, stored: &[(PathBuf, i32)]) -> Result<Option<i32>> {
    let first = stored.first().map(|(_, id)| *id);
    if stored.iter().any(|(_, id)| Some(*id) != first) {
        return Err(Error::Directories(stored.to_vec()));
    }
    match (wishes.configured, first) {
        (configured, Some(stored)) if configured >= 0 && configured != stored => {
            Err(Error::Configured { configured, stored })
        }
        (_, Some(stored)) => Ok(Some(stored)),
        (configured, None) if configured >= 0 => Ok(Some(configured)),
        (_, None) if wishes.generate => Ok(None),
        (_, None) => Err(Error::NoId),
    }
}

/// The next id of the cluster: each write to the counter's node raises its version, so no two
/// brokers get the same.
async fn generate(zookeeper: &Session, reserved_max: i32) -> Result<i32> {
    let stat = zookeeper
        .set(paths::BROKER_SEQUENCE_ID, b"", -1)
        .await
        .map_err(Error::Generate)?;
    Ok(reserved_max + stat.version)
}

/// What each directory remembers; directories without the file are left out.
fn remembered(dirs: &[PathBuf]) -> Result<Vec<(PathBuf, i32)>> {
    let mut found = Vec::new();
    for dir in dirs {
        match remembered_in(dir)? {
            Some(id) => found.push((dir.clone(), id)),
            None => warn!("No {META_FILE} file under dir {}", dir.join(META_FILE).display()),
        }
    }
    Ok(found)
}

/// The broker's id that a directory remembers; `None` if it has no such file. Only reads.
///
/// # Errors
/// [`Error::Damaged`] and [`Error::Version`] for a file that no broker starts with.
pub fn remembered_in(dir: &Path) -> Result<Option<i32>> {
    let path = dir.join(META_FILE);
    match fs::read(&path)? {
        Some(bytes) => parse(&path, &bytes).map(Some),
        None => Ok(None),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<i32> {
    let damaged = |why: String| Error::Damaged {
        path: path.to_owned(),
        why,
    };
    let properties = Properties::parse(bytes, META_FILE).map_err(|e| damaged(e.to_string()))?;
    match properties.get("version").map(str::trim) {
        Some("0") => {}
        Some(version) => {
            return Err(Error::Version {
                path: path.to_owned(),
                version: version.to_owned(),
            });
        }
        None => return Err(damaged("no version".to_owned())),
    }
    let id = properties
        .get("broker.id")
        .ok_or_else(|| damaged("no broker.id".to_owned()))?;
    match id.trim().parse() {
        Ok(id) if id >= 0 => Ok(id),
        _ => Err(damaged(format!("broker.id is {id}"))),
    }
}

fn remember(dir: &Path, id: i32, now: WallMs) -> Result<()> {
    let text = format!("#\n#{}\nversion=0\nbroker.id={id}\n", java_date(now));
    Ok(fs::replace(&dir.join(META_FILE), text.as_bytes())?)
}

/// A moment as Java prints a date, in UTC: `Thu Feb 11 14:13:20 UTC 2016`.
fn java_date(at: WallMs) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = at.0.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years are counted from March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    format!(
        "{} {} {day:02} {:02}:{:02}:{:02} UTC {year}",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(configured: i32) -> Wishes {
        Wishes {
            configured,
            generate: true,
            reserved_max: 1000,
        }
    }

    #[test]
    fn stored_ids_must_agree_with_each_other_and_with_the_configured_one() {
        let at = |d: &str, id| (PathBuf::from(d), id);
        assert!(matches!(decide(wishes(-1), &[]), Ok(None)));
        assert!(matches!(decide(wishes(3), &[]), Ok(Some(3))));
        assert!(matches!(decide(wishes(-1), &[at("a", 1001)]), Ok(Some(1001))));
        assert!(matches!(decide(wishes(1001), &[at("a", 1001)]), Ok(Some(1001))));
        assert_eq!(
            decide(wishes(1), &[at("a", 0)])
                .unwrap_err()
                .to_string()
                .split(". ")
                .next(),
            Some("Configured brokerId 1 doesn't match stored brokerId 0 in meta.properties")
        );
        assert!(matches!(
            decide(wishes(1), &[at("a", 1), at("b", 2)]),
            Err(Error::Directories(_))
        ));
        let no_generation = Wishes {
            generate: false,
            ..wishes(-1)
        };
        assert!(matches!(decide(no_generation, &[]), Err(Error::NoId)));
    }

    #[test]
    fn the_file_is_written_as_a_jvm_does_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        remember(dir.path(), 7, WallMs(1_455_200_000_000)).unwrap();
        let path = dir.path().join(META_FILE);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "#\n#Thu Feb 11 14:13:20 UTC 2016\nversion=0\nbroker.id=7\n"
        );
        let dirs = [dir.path().to_owned(), dir.path().join("none")];
        assert_eq!(remembered(&dirs).unwrap(), [(dir.path().to_owned(), 7)]);
    }

    #[test]
    fn another_version_or_nonsense_is_refused_with_the_files_name() {
        let path = Path::new("d/meta.properties");
        assert!(
            parse(path, b"version=1\nbroker.id=0\n")
                .unwrap_err()
                .to_string()
                .starts_with("Unrecognized version of the server meta.properties file: 1")
        );
        for bad in ["broker.id=1\n", "version=0\n", "version=0\nbroker.id=x\n"] {
            assert!(
                matches!(parse(path, bad.as_bytes()), Err(Error::Damaged { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn dates_are_right_around_leap_days_and_the_epoch() {
        assert_eq!(java_date(WallMs(0)), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date(WallMs(951_782_400_000)), "Tue Feb 29 00:00:00 UTC 2000");
        assert_eq!(
            java_date(WallMs(1_709_251_199_999)),
            "Thu Feb 29 23:59:59 UTC 2024"
        );
        assert_eq!(
            java_date(WallMs(1_709_251_200_000)),
            "Fri Mar 01 00:00:00 UTC 2024"
        );
    }
}
