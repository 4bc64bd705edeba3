//! The transaction log: append with a promise of durability, and reading back.
//!
//! A file `log.<zxid of its first record>` begins with 16 bytes: magic `ZKLG`, version 2, database id
//! 0. Records follow until the end of the file or the first zero length, for files are extended by
//! zeros before they are filled:
//!
//! ```text
//! checksum  8 bytes  Adler-32 of the entry
//! length    4
//! entry     length   header and body, see txn.rs
//! end       1        'B'
//! ```
//!
//! A server never appends to a file that it did not begin itself, so that a torn tail stays where it
//! is and does no harm. After a failed write or fsync the log refuses all further writes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ::log::warn;
use bytes::{BufMut, Bytes, BytesMut};

use crate::util::clock::Clock;
use crate::util::fs::{self, Context};

use super::checksum::adler32;
use super::error::{Error, Result};
use super::files::Kind;
use super::txn::{self, Txn, TxnHeader};

const MAGIC: i32 = i32::from_be_bytes(*b"ZKLG");
const VERSION: i32 = 2;
const HEADER: u64 = 16;
/// Checksum, length and end of a record.
const FRAME: u64 = 13;
const END: u8 = b'B';

/// How the log is written.
#[derive(Clone, Debug)]
pub(super) struct LogSettings {
    /// Files grow by so many bytes at once.
    pub(super) pre_alloc_bytes: u64,
    /// Whether a write is durable before it is reported (`forceSync`).
    pub(super) force_sync: bool,
    /// A slower fsync gets a warning.
    pub(super) slow_sync: std::time::Duration,
}

/// Appends one record.
pub(super) fn write_record(header: &TxnHeader, txn: &Txn, out: &mut BytesMut) {
    let at = out.len();
    out.put_bytes(0, 12);
    txn::write_entry(header, txn, out);
    let entry = &out[at + 12..];
    let (sum, len) = (adler32(entry), entry.len() as u32);
    out[at..at + 8].copy_from_slice(&sum.to_be_bytes());
    out[at + 8..at + 12].copy_from_slice(&len.to_be_bytes());
    out.put_u8(END);
}

/// The end of the log, where records are added.
#[derive(Debug)]
pub(super) struct TxnLog {
    dir: PathBuf,
    settings: LogSettings,
    clock: Clock,
    open: Option<Open>,
    broken: bool,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    end: u64,
    allocated: u64,
}

impl TxnLog {
    /// Nothing is created before the first record.
    pub(super) fn new(dir: PathBuf, settings: LogSettings, clock: Clock) -> TxnLog {
        TxnLog {
            dir,
            settings,
            clock,
            open: None,
            broken: false,
        }
    }

    /// Appends whole records, the first of them of transaction `first`, and makes them durable.
    ///
    /// # Errors
    /// [`Error::Storage`]; nothing can be appended from then on, for nobody knows what is on the disk.
    pub(super) fn append(&mut self, first: i64, records: &[u8]) -> Result<()> {
        assert!(!self.broken, "the owner stops after a failed write");
        self.broken = true;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(first)?,
        };
        let end = open.end + records.len() as u64;
        if end + 4096 >= open.allocated && self.settings.pre_alloc_bytes > 0 {
            open.allocated = end.max(open.allocated) + self.settings.pre_alloc_bytes;
            open.file.set_len(open.allocated).during("extend", &open.path)?;
        }
        fs::write_all_at(&open.file, records, open.end).during("write", &open.path)?;
        open.end = end;
        if self.settings.force_sync {
            let start = self.clock.now();
            open.file.sync_data().during("fsync", &open.path)?;
            let took = self.clock.now().since(start);
            if took > self.settings.slow_sync {
                warn!(
                    "fsync-ing the write ahead log in {} took {}ms which will adversely effect operation \
                     latency. See the ZooKeeper troubleshooting guide",
                    open.path.display(),
                    took.as_millis()
                );
            }
        }
        self.open = Some(open);
        self.broken = false;
        Ok(())
    }

    /// The next record begins a new file.
    pub(super) fn roll(&mut self) {
        self.open = None;
    }

    fn begin(&self, first: i64) -> Result<Open> {
        let path = Kind::Log.path(&self.dir, first);
        let file = File::create(&path).during("create", &path)?;
        let mut header = BytesMut::new();
        header.put_i32(MAGIC);
        header.put_i32(VERSION);
        header.put_i64(0);
        fs::write_all_at(&file, &header, 0).during("write", &path)?;
        let allocated = HEADER + self.settings.pre_alloc_bytes;
        file.set_len(allocated).during("extend", &path)?;
        file.sync_all().during("fsync", &path)?;
        fs::sync_dir(&self.dir)?;
        Ok(Open {
            path,
            file,
            end: HEADER,
            allocated,
        })
    }
}

/// What comes next in a file of the log.
#[derive(Debug)]
pub(super) enum Next {
    /// A whole record.
    Record(TxnHeader, Txn),
    /// No more whole records: the file ends, zeros begin, or the last write was cut short.
    End,
    /// A record whose checksum is wrong, at `at`; the next one would begin at `after`.
    Damaged { at: u64, after: u64 },
}

/// Reads one file of the log from its start.
#[derive(Debug)]
pub(super) struct LogReader {
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
    len: u64,
}

impl LogReader {
    /// Opens a file. One that is too short for its header has no records.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is no log.
    pub(super) fn open(path: &Path) -> Result<LogReader> {
        let file = File::open(path).during("open", path)?;
        let len = file.metadata().during("stat", path)?.len();
        let mut reader = LogReader {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 16, file),
            at: 0,
            len,
        };
        if let Some(header) = reader.take(HEADER)?
            && header[..8] != *b"ZKLG\0\0\0\x02"
            && header.iter().any(|byte| *byte != 0)
        {
            return Err(reader.corrupt(0, "it is no transaction log"));
        }
        Ok(reader)
    }

    /// Goes to a place where a record may begin.
    pub(super) fn seek(&mut self, at: u64) -> Result<()> {
        std::io::Seek::seek(&mut self.file, std::io::SeekFrom::Start(at)).during("seek", &self.path)?;
        self.at = at;
        Ok(())
    }

    /// The next record.
    ///
    /// # Errors
    /// [`Error::Undecodable`] for a record of a kind that is not known.
    pub(super) fn next(&mut self) -> Result<Next> {
        let at = self.at;
        let Some(head) = self.take(12)? else {
            return Ok(Next::End);
        };
        let mut r = crate::util::codec::Reader::new(head);
        let (Ok(sum), Ok(len)) = (r.i64(), r.i32()) else {
            return Ok(Next::End);
        };
        let Ok(len @ 1..) = u64::try_from(len) else {
            return Ok(Next::End);
        };
        let Some(entry) = self.take(len + 1)? else {
            return Ok(Next::End);
        };
        let (entry, end) = (entry.slice(..len as usize), entry[len as usize]);
        if end != END {
            return Ok(Next::End);
        }
        if adler32(&entry) != sum {
            let after = at + FRAME + len;
            return Ok(Next::Damaged { at, after });
        }
        let (header, txn) = txn::read_entry(entry).map_err(|source| Error::Undecodable {
            file: self.path.clone(),
            at,
            source,
        })?;
        Ok(Next::Record(header, txn))
    }

    /// The next `n` bytes, or `None` if the file has fewer. Allocates only what is there.
    fn take(&mut self, n: u64) -> Result<Option<Bytes>> {
        if n > self.len.saturating_sub(self.at) {
            return Ok(None);
        }
        let mut bytes = vec![0; n as usize];
        self.file.read_exact(&mut bytes).during("read", &self.path)?;
        self.at += n;
        Ok(Some(bytes.into()))
    }

    fn corrupt(&self, at: u64, what: &str) -> Error {
        Error::Corrupt {
            file: self.path.clone(),
            at,
            what: what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LogSettings {
        LogSettings {
            pre_alloc_bytes: 1 << 16,
            force_sync: true,
            slow_sync: std::time::Duration::from_secs(60),
        }
    }

    fn record(zxid: i64) -> BytesMut {
        let header = TxnHeader {
            zxid,
            ..TxnHeader::default()
        };
        let mut out = BytesMut::new();
        write_record(&header, &Txn::CreateSession { timeout_ms: 5 }, &mut out);
        out
    }

    fn zxids(path: &Path) -> Vec<i64> {
        let mut reader = LogReader::open(path).unwrap();
        let mut found = Vec::new();
        while let Next::Record(header, _) = reader.next().unwrap() {
            found.push(header.zxid);
        }
        found
    }

    #[test]
    fn records_come_back_from_the_files_they_went_to() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = TxnLog::new(dir.path().to_owned(), settings(), Clock::system());
        let mut two = record(1);
        two.extend_from_slice(&record(2));
        log.append(1, &two).unwrap();
        log.append(3, &record(3)).unwrap();
        log.roll();
        log.append(4, &record(4)).unwrap();
        assert_eq!(zxids(&dir.path().join("log.1")), [1, 2, 3]);
        assert_eq!(zxids(&dir.path().join("log.4")), [4]);
        let len = std::fs::metadata(dir.path().join("log.4")).unwrap().len();
        assert_eq!(len, HEADER + (1 << 16));
    }

    #[test]
    fn a_cut_record_ends_the_file_and_a_flipped_bit_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        let mut log = TxnLog::new(dir.path().to_owned(), settings(), Clock::system());
        log.append(1, &record(1)).unwrap();
        log.append(2, &record(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let first_end = HEADER as usize + record(1).len();
        let both_end = first_end + record(2).len();
        for cut in first_end..both_end {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(zxids(&path), [1], "cut at {cut}");
        }
        let mut flipped = whole.clone();
        flipped[first_end + 20] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let mut reader = LogReader::open(&path).unwrap();
        assert!(matches!(reader.next().unwrap(), Next::Record(..)));
        match reader.next().unwrap() {
            Next::Damaged { at, after } => {
                assert_eq!((at, after), (first_end as u64, both_end as u64));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_without_a_whole_header_is_empty_and_a_foreign_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        std::fs::write(&path, b"ZK").unwrap();
        assert!(zxids(&path).is_empty());
        std::fs::write(&path, [7; 64]).unwrap();
        assert!(matches!(LogReader::open(&path), Err(Error::Corrupt { .. })));
    }
}
