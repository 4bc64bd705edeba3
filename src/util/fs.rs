//! Files with care: errors that name operation and path, positioned reads and writes, replacement
//! that survives a crash, and the locks that a JVM would see. The same on Linux and Windows.

mod lock;
mod system;
#[cfg(all(test, unix))]
pub(crate) mod testing;

#[cfg(not(all(test, unix)))]
use system as os;
#[cfg(all(test, unix))]
use testing as os;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use lock::{FileLock, lock};
use system::How;

/// An I/O error with the operation and the path that it happened to.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct Error {
    /// What was being done, such as `open` or `fsync`.
    pub op: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// Result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A stretch of a file, ready to go to a socket without passing through this process.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The open file; it stays readable through this handle after a rename or removal.
    pub file: Arc<File>,
    /// First byte, from the file's start.
    pub position: u64,
    /// How many bytes.
    pub len: usize,
    /// Who is to hear of it if the file cannot be read.
    pub owner: Option<FileOwner>,
}

/// Whose file it is: called with what the system said when it could not be read.
#[derive(Clone)]
pub struct FileOwner(Arc<dyn Fn(io::Error) + Send + Sync>);

impl FileOwner {
    /// `unreadable` hears of each failure.
    pub fn new(unreadable: impl Fn(io::Error) + Send + Sync + 'static) -> FileOwner {
        FileOwner(Arc::new(unreadable))
    }
}

impl std::fmt::Debug for FileOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileOwner")
    }
}

impl FileSlice {
    /// Looks whether the byte at `done` of the slice can be read, after sending it failed in a way that may be
    /// the file's fault or the socket's. The owner is told if it cannot.
    pub fn look_into(&self, done: usize) {
        if let (Some(owner), Err(e)) = (
            &self.owner,
            read_at(&self.file, &mut [0], self.position + done as u64),
        ) {
            (owner.0)(e);
        }
    }
}

/// Adds operation and path to an I/O result.
pub trait Context<T> {
    /// As `self`, the error saying what was done to what.
    fn during(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error {
            op,
            path: path.to_owned(),
            source,
        })
    }
}

impl Error {
    /// Whether another program holds the file at the moment, such as a virus scanner that reads it
    /// without sharing: all is well, and the same may succeed later. Never on systems other than Windows.
    pub fn is_held(&self) -> bool {
        is_held(&self.source)
    }

    /// There was no room for what was to be made or written. What had been there is as it was. An fsync
    /// that finds no room is no such case: what it was to write is lost.
    pub fn is_full(&self) -> bool {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        let makes = ["write", "create", "create directory", "extend"];
        kinds.contains(&self.source.kind()) && makes.contains(&self.op)
    }

    /// Whether the disk cannot be trusted any more: not when it was only full, nor when this process has
    /// too many files open or another holds the file.
    pub fn blames_the_disk(&self) -> bool {
        /// ENFILE, EMFILE; ERROR_TOO_MANY_OPEN_FILES.
        const TOO_MANY_FILES: &[i32] = if cfg!(windows) { &[4] } else { &[23, 24] };
        let too_many = self
            .source
            .raw_os_error()
            .is_some_and(|n| TOO_MANY_FILES.contains(&n));
        !too_many && !self.is_full() && !self.is_held()
    }
}

fn is_held(error: &io::Error) -> bool {
    /// Access denied (also: waits for its deletion), sharing violation, lock violation, directory not
    /// empty (a file in it waits for its deletion), deletion pending, mapped by someone.
    const HELD: [i32; 6] = [5, 32, 33, 145, 303, 1224];
    cfg!(windows) && error.raw_os_error().is_some_and(|code| HELD.contains(&code))
}

/// Opens a file that is there, for reading and writing; on Windows shared with everyone, for renaming and
/// removing too.
///
/// # Errors
/// The system's, as all of this module after some patience where [`Error::is_held`].
pub fn open(path: &Path) -> Result<File> {
    retry_while_held(|| os::open(path, How::There)).during("open", path)
}

/// As [`open`], for reading only: it may be on a file system that nobody can write to.
pub fn open_to_read(path: &Path) -> Result<File> {
    retry_while_held(|| os::open(path, How::ToRead)).during("open", path)
}

/// Makes a file that is not there.
pub fn create_new(path: &Path) -> Result<File> {
    retry_while_held(|| os::open(path, How::New)).during("create", path)
}

/// Makes a file, or empties the one that is there.
pub fn create(path: &Path) -> Result<File> {
    retry_while_held(|| os::open(path, How::Empty)).during("create", path)
}

/// Writes all of `bytes` at `position`, without moving any cursor.
pub fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match retry_while_held(|| os::write_at(file, &bytes[done..], position + done as u64)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads at `position` until `into` is full or the file ends; returns how much was read.
pub fn read_at(file: &File, into: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match retry_while_held(|| os::read_at(file, &mut into[done..], position + done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Gives a file that length: cuts it, or adds zeros.
pub fn set_len(file: &File, size: u64) -> io::Result<()> {
    os::set_len(file, size)
}

/// Afterwards the file's bytes and its length are on disk. A failure is final: the system may have
/// dropped what it could not write, and a second call that succeeds says nothing about it.
pub fn sync(file: &File) -> io::Result<()> {
    os::sync(file)
}

/// Makes directory entries durable: what was created, renamed or removed in `dir` stays so.
///
/// Nothing on Windows, which has no such call and orders its metadata itself.
pub fn sync_dir(dir: &Path) -> Result<()> {
    os::sync_dir(dir).during("fsync directory", dir)
}

/// Puts `bytes` in place of the file at `path`: afterwards, and after any crash, the file holds
/// either all of the old or all of the new.
///
/// Writes `<path>.tmp`, syncs it, renames it over and syncs the directory.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    {
        let file = create(&tmp)?;
        write_all_at(&file, bytes, 0).during("write", &tmp)?;
        sync(&file).during("fsync", &tmp)?;
    }
    rename(&tmp, path)?;
    match path.parent() {
        Some(dir) if dir != Path::new("") => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// Renames `from` to `to`, replacing a file that is there. Whoever has either open keeps what he has.
///
/// # Errors
/// On older Windows systems [`Error::is_held`] if `to` is there and open; see [`displace`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    retry_while_held(|| os::rename(from, to)).during("rename", from)
}

/// As [`rename`], also where `to` is there and open. A crash in between may leave neither under the
/// name `to`.
pub fn displace(from: &Path, to: &Path) -> Result<()> {
    if cfg!(windows) {
        remove_file(to)?;
    }
    rename(from, to)
}

/// What the name of a file that waits for its last handle to be closed ends with, before a number.
const GONE: &str = ".gone-";

/// Whether a file was removed by [`remove_file`]: one that is open goes by itself when it is closed,
/// others only after a crash at that moment.
pub fn is_removed(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy());
    let number = name.as_deref().and_then(|n| n.rsplit_once(GONE)).map(|(_, n)| n);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Removes a file; a file that is not there is no error. Its name is free afterwards, and whoever has
/// it open can go on reading.
///
/// Older Windows systems keep the name until the last handle is closed, so there the file gets another
/// one first, of which [`is_removed`] knows.
pub fn remove_file(path: &Path) -> Result<()> {
    let result = if cfg!(windows) {
        remove_under_another_name(path)
    } else {
        os::remove_file(path)
    };
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.during("delete", path),
    }
}

fn remove_under_another_name(path: &Path) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // A name may be taken by what another process could not remove and someone still has open.
    let gone = retry_while_held(|| {
        let mut gone = path.as_os_str().to_owned();
        gone.push(format!("{GONE}{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        os::rename(path, Path::new(&gone)).map(|()| PathBuf::from(gone))
    })?;
    retry_while_held(|| os::remove_file(&gone)).inspect_err(|_| {
        let _ = os::rename(&gone, path);
    })
}

/// Removes for good what [`remove_file`] has removed and a crash, or someone who still has it open, has
/// left. One that is gone is no error: who removed it may have come to its end just now.
pub fn remove_removed(path: &Path) -> Result<()> {
    match os::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.during("delete", path),
    }
}

/// Removes what is left in `dir` of removals that a crash interrupted.
pub fn finish_removals(dir: &Path) -> Result<()> {
    for name in list(dir)? {
        let path = dir.join(name);
        if is_removed(&path)
            && let Err(e) = remove_removed(&path)
            && !e.is_held()
        {
            return Err(e);
        }
    }
    Ok(())
}

/// Removes an empty directory.
pub fn remove_dir(path: &Path) -> Result<()> {
    os::remove_dir(path).during("delete", path)
}

/// Removes a directory with all in it; a directory that is not there is no error.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match retry_while_held(|| os::remove_dir_all(path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.during("delete", path),
    }
}

/// Makes a directory and those above it, where they are not there yet. The next crash may undo it.
pub fn create_dir_all(path: &Path) -> Result<()> {
    os::create_dir_all(path).during("create directory", path)
}

/// As [`create_dir_all`], and no crash undoes it.
pub fn create_dir_all_durably(path: &Path) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.exists()).collect();
    create_dir_all(path)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        sync_dir(parent)?;
    }
    Ok(())
}

/// All of a file; `None` if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match os::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).during("read", path),
    }
}

/// The names in a directory, in no order.
pub fn list(dir: &Path) -> Result<Vec<OsString>> {
    os::list(dir).during("list", dir)
}

/// Room on the file system that holds a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
}

/// How much room the file system of `dir` has.
pub fn space(dir: &Path) -> Result<Space> {
    let (free, size) = os::space(dir).during("measure the space of", dir)?;
    Ok(Space { free, size })
}

/// Does it again while another program holds the file, for some seconds: a virus scanner looks at every
/// new file, and has soon seen enough.
fn retry_while_held<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const LONGEST: Duration = Duration::from_millis(320);
    let mut pause = Duration::from_millis(5);
    let mut tries = 16;
    loop {
        tries -= 1;
        match work() {
            Err(e) if tries > 0 && is_held(&e) => {
                std::thread::sleep(pause);
                pause = LONGEST.min(pause * 2);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_new_bytes_and_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_open_file_is_renamed_and_removed_and_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "one").unwrap();
        let one = Arc::new(File::open(&a).unwrap());
        rename(&a, &b).unwrap();
        std::fs::write(&a, "two").unwrap();
        let two = File::open(&a).unwrap();
        displace(&a, &b).unwrap();
        remove_file(&b).unwrap();
        remove_file(&b).unwrap();
        // The names are free while the files are open.
        for name in [&a, &b] {
            create_new(name).unwrap();
        }
        rename(&a, &c).unwrap();
        let mut bytes = [0; 3];
        for (file, content) in [(&*one, b"one"), (&two, b"two")] {
            assert_eq!(read_at(file, &mut bytes, 0).unwrap(), 3);
            assert_eq!(&bytes, content);
        }
        drop((one, two));
        let left = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
        assert_eq!(left.collect::<std::collections::BTreeSet<_>>(), [b, c].into());
    }

    #[test]
    fn the_rest_of_a_removal_is_known_by_its_name() {
        for (name, is) in [
            ("x.log.gone-3", true),
            ("x.gone-", false),
            ("x.gone-a", false),
            ("x", false),
        ] {
            assert_eq!(is_removed(Path::new(name)), is, "{name}");
        }
    }

    #[test]
    fn the_rest_of_a_removal_may_be_gone_when_its_turn_comes() {
        let dir = tempfile::tempdir().unwrap();
        let rest = dir.path().join("x.log.gone-3");
        std::fs::write(&rest, "").unwrap();
        remove_removed(&rest).unwrap();
        remove_removed(&rest).unwrap();
    }
}
