//! A disk that fails when a unit test says so, in the place of [`system`]. Outside of the directories
//! that a test puts one over, calls pass through.
//!
//! Files are real ones. Beside them a [`Disk`] keeps what would be left of them if the power went: the
//! bytes as of each file's last fsync with the changes since, and the names as of each directory's last
//! fsync with the changes since. [`Disk::lose_power`] makes that, or something between that and all, true.
//! Names change in order (file systems journal them); bytes come and go in any order, torn anywhere.

mod calls;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, Weak};

use super::system::{self, How};
pub(super) use calls::*;

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Opening a file that is there.
    Open,
    /// Making or emptying a file.
    Create,
    Write,
    Read,
    SetLen,
    Sync,
    SyncDir,
    Rename,
    Remove,
    MakeDir,
    List,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done and this is the answer. A sync that fails so loses what it was to write, also
    /// for later syncs that succeed.
    Error(io::ErrorKind),
    /// As [`Fault::Error`], by the system's number.
    System(i32),
    /// Half is written, then the disk is full. For writes.
    Short,
    /// Half is written, or nothing done; from then on everything fails until [`Disk::lose_power`] or
    /// [`Disk::restart`].
    Crash,
}

/// When it goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct When {
    /// With which operation; all if none is given.
    pub(crate) op: Option<Op>,
    /// On paths that contain this.
    pub(crate) path: &'static str,
    /// How many such operations go well before.
    pub(crate) after: u64,
    /// How often.
    pub(crate) times: u64,
    /// How.
    pub(crate) fault: Fault,
}

impl When {
    /// Each `op` from now on.
    pub(crate) fn every(op: Op, fault: Fault) -> When {
        When {
            op: Some(op),
            path: "",
            after: 0,
            times: u64::MAX,
            fault,
        }
    }

    /// The operation after `after` others.
    pub(crate) fn nth(after: u64, fault: Fault) -> When {
        When {
            op: None,
            path: "",
            after,
            times: 1,
            fault,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    when: Option<When>,
    crashed: bool,
    nodes: HashMap<u64, Node>,
    by_identity: HashMap<(u64, u64), u64>,
    next_node: u64,
    names: BTreeMap<PathBuf, Entry>,
    durable_names: BTreeMap<PathBuf, Entry>,
    name_changes: Vec<NameChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Dir,
    File(u64),
}

#[derive(Debug)]
struct Node {
    /// Held so that its number goes to no other file.
    file: File,
    path: PathBuf,
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// An fsync failed.
    lost: bool,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, Entry),
    Gone(PathBuf),
    Renamed(PathBuf, PathBuf),
}

static DISKS: RwLock<Vec<Weak<Disk>>> = RwLock::new(Vec::new());

fn disks() -> Vec<Arc<Disk>> {
    DISKS.read().unwrap().iter().filter_map(Weak::upgrade).collect()
}

fn over(path: &Path) -> Option<Arc<Disk>> {
    disks().into_iter().find(|d| path.starts_with(&d.root))
}

/// The disk that a file is on, and its number there.
fn holding(file: &File) -> Option<(Arc<Disk>, u64)> {
    let disks = disks();
    if disks.is_empty() {
        return None;
    }
    let identity = system::identity(&file.metadata().ok()?);
    disks.into_iter().find_map(|d| {
        let node = d.lock().by_identity.get(&identity).copied()?;
        Some((d, node))
    })
}

impl Disk {
    /// Puts a disk over `root`, which is there; all that is in it counts as durable.
    pub(crate) fn over(root: &Path) -> Arc<Disk> {
        let disk = Arc::new(Disk {
            root: root.to_owned(),
            state: Mutex::default(),
        });
        disk.lock().rescan(root);
        let mut disks = DISKS.write().unwrap();
        disks.retain(|d| d.strong_count() > 0);
        disks.push(Arc::downgrade(&disk));
        disk
    }

    /// Arranges for a fault, in place of one that was arranged before.
    pub(crate) fn fail(&self, when: When) {
        self.lock().when = Some(when);
    }

    /// No fault any more.
    pub(crate) fn mend(&self) {
        self.lock().when = None;
    }

    /// Whether the arranged crash has come.
    pub(crate) fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// After the death of the process: the system goes on, and nothing is lost.
    pub(crate) fn restart(&self) {
        let mut state = self.lock();
        (state.crashed, state.when) = (false, None);
    }

    /// After the death of the machine: what was not synced is there, or not, or in part. `random` gives
    /// numbers below its argument. All that used the directory has let go of it.
    pub(crate) fn lose_power(&self, random: &mut dyn FnMut(u64) -> u64) {
        let mut state = self.lock();
        (state.crashed, state.when) = (false, None);
        let kept = usize::try_from(random(state.name_changes.len() as u64 + 1)).unwrap();
        let changes = std::mem::take(&mut state.name_changes);
        for change in changes.into_iter().take(kept) {
            apply(&mut state.durable_names, change);
        }
        let left: Vec<(PathBuf, Entry)> = std::mem::take(&mut state.durable_names).into_iter().collect();
        let contents: Vec<_> = left
            .into_iter()
            .map(|(path, entry)| match entry {
                Entry::Dir => (path, None),
                Entry::File(node) => {
                    let node = &state.nodes[&node];
                    let modified = node.file.metadata().unwrap().modified().unwrap();
                    (path, Some((node.after_power_loss(random), modified)))
                }
            })
            .collect();
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
        // Ordered, so that a directory comes before what is in it; a file whose directory is lost is lost.
        for (path, content) in contents {
            if !path.parent().unwrap().is_dir() {
                continue;
            }
            match content {
                None => std::fs::create_dir(path).unwrap(),
                Some((bytes, modified)) => {
                    std::fs::write(&path, bytes).unwrap();
                    let file = File::options().write(true).open(&path).unwrap();
                    file.set_modified(modified).unwrap();
                }
            }
        }
        state.rescan(&self.root);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn rescan(&mut self, root: &Path) {
        self.nodes.clear();
        self.by_identity.clear();
        self.names.clear();
        self.name_changes.clear();
        self.scan(root);
        self.durable_names = self.names.clone();
    }

    fn scan(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.names.insert(path.clone(), Entry::Dir);
                self.scan(&path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let node = self.add(&path, bytes);
                self.names.insert(path, Entry::File(node));
            }
        }
    }

    /// Takes a file in, of which `durable` is on disk.
    fn add(&mut self, path: &Path, durable: Vec<u8>) -> u64 {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let identity = system::identity(&file.metadata().unwrap());
        let id = self.next_node;
        self.next_node += 1;
        self.by_identity.insert(identity, id);
        let node = Node {
            file,
            path: path.to_owned(),
            durable,
            changes: Vec::new(),
            lost: false,
        };
        self.nodes.insert(id, node);
        id
    }

    /// Fails an operation if that is arranged.
    fn gate(&mut self, op: Op, path: &Path) -> io::Result<()> {
        if self.crashed {
            return Err(gone());
        }
        let Some(when) = &mut self.when else {
            return Ok(());
        };
        let meant = when.op.is_none_or(|o| o == op) && path.to_string_lossy().contains(when.path);
        if !meant {
            return Ok(());
        }
        if when.after > 0 {
            when.after -= 1;
            return Ok(());
        }
        if when.times == 0 {
            return Ok(());
        }
        when.times -= 1;
        match when.fault {
            Fault::Error(kind) => Err(kind.into()),
            Fault::System(number) => Err(io::Error::from_raw_os_error(number)),
            Fault::Short => Err(io::ErrorKind::StorageFull.into()),
            Fault::Crash => {
                self.crashed = true;
                Err(gone())
            }
        }
    }

    fn rename(&mut self, change: NameChange) {
        apply(&mut self.names, change.clone());
        self.name_changes.push(change);
    }

    /// Forgets files that have no name left.
    fn forget_nameless(&mut self) {
        let pending = self.name_changes.iter().filter_map(|c| match c {
            NameChange::Put(_, entry) => Some(entry),
            _ => None,
        });
        let named = self.names.values().chain(self.durable_names.values());
        let named: HashSet<u64> = named
            .chain(pending)
            .filter_map(|e| match e {
                Entry::File(node) => Some(*node),
                Entry::Dir => None,
            })
            .collect();
        self.nodes.retain(|id, _| named.contains(id));
        self.by_identity.retain(|_, id| named.contains(id));
    }
}

impl Node {
    fn after_power_loss(&self, random: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let (mode, last) = (random(5), random(self.changes.len() as u64 + 1));
        for (n, change) in self.changes.iter().enumerate() {
            let whole = match mode {
                0 => false,
                1 => true,
                2 => (n as u64) < last,
                _ => random(2) == 0,
            };
            match change {
                Change::Len(size) if whole => bytes.resize(usize::try_from(*size).unwrap(), 0),
                Change::Write(at, new) if whole => put(&mut bytes, *at, new),
                Change::Write(at, new) if mode == 2 && n as u64 == last => {
                    let torn = usize::try_from(random(new.len() as u64 + 1)).unwrap();
                    put(&mut bytes, *at, &new[..torn]);
                }
                // The length came to the disk, the bytes did not.
                Change::Write(at, new) if mode == 4 => {
                    let end = usize::try_from(*at).unwrap() + new.len();
                    bytes.resize(bytes.len().max(end), 0);
                }
                _ => {}
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, new: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let end = at + new.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at..end].copy_from_slice(new);
}

fn apply(names: &mut BTreeMap<PathBuf, Entry>, change: NameChange) {
    match change {
        NameChange::Put(path, entry) => {
            names.insert(path, entry);
        }
        NameChange::Gone(path) => {
            names.remove(&path);
        }
        NameChange::Renamed(from, to) => {
            if let Some(entry) = names.remove(&from) {
                names.insert(to, entry);
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}
