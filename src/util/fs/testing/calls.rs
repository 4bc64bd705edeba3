//! The calls of [`system`], over disks that may fail.

use super::*;

pub(in crate::util::fs) fn open(path: &Path, how: How) -> io::Result<File> {
    let Some(disk) = over(path) else {
        return system::open(path, how);
    };
    let mut state = disk.lock();
    let there = path.exists();
    let makes = !there || how == How::Empty;
    state.gate(if makes { Op::Create } else { Op::Open }, path)?;
    let before = there.then(|| std::fs::read(path).unwrap_or_default());
    let file = system::open(path, how)?;
    let known = match state.names.get(path) {
        Some(Entry::File(node)) => Some(*node),
        _ => None,
    };
    match (before, known) {
        (None, _) => {
            let node = state.add(path, Vec::new());
            state.rename(NameChange::Put(path.to_owned(), Entry::File(node)));
        }
        // Made behind the disk's back, by a test.
        (Some(bytes), None) => {
            let node = state.add(path, bytes);
            state.names.insert(path.to_owned(), Entry::File(node));
            state.durable_names.insert(path.to_owned(), Entry::File(node));
        }
        (Some(_), Some(_)) => {}
    }
    if there && how == How::Empty {
        let node = match state.names[path] {
            Entry::File(node) => node,
            Entry::Dir => unreachable!("it was opened as a file"),
        };
        state
            .nodes
            .get_mut(&node)
            .expect("named")
            .changes
            .push(Change::Len(0));
    }
    Ok(file)
}

/// Does something to an open file if it goes well; `change` is what a power loss may undo.
fn touch<T>(
    file: &File,
    op: Op,
    work: impl FnOnce(bool) -> io::Result<T>,
    change: impl FnOnce(&T) -> Option<Change>,
) -> io::Result<T> {
    let Some((disk, id)) = holding(file) else {
        return work(true);
    };
    let mut state = disk.lock();
    let Some(path) = state.nodes.get(&id).map(|n| n.path.clone()) else {
        return work(true);
    };
    let fault = state.when.as_ref().map(|w| w.fault);
    let was_crashed = state.crashed;
    if let Err(e) = state.gate(op, &path) {
        let half = op == Op::Write && !was_crashed && matches!(fault, Some(Fault::Short | Fault::Crash));
        if half {
            let done = work(false)?;
            let node = state.nodes.get_mut(&id).expect("it is held");
            node.changes.extend(change(&done));
            if fault == Some(Fault::Short) {
                state.when = Some(When {
                    times: 1,
                    ..When::every(Op::Write, Fault::Error(io::ErrorKind::StorageFull))
                });
                return Ok(done);
            }
        }
        if op == Op::Sync && matches!(fault, Some(Fault::Error(_))) {
            state.nodes.get_mut(&id).expect("it is held").lost = true;
        }
        return Err(e);
    }
    let done = work(true)?;
    let node = state.nodes.get_mut(&id).expect("it is held");
    node.changes.extend(change(&done));
    Ok(done)
}

pub(in crate::util::fs) fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    let work = |whole| {
        let part = if whole { bytes } else { &bytes[..bytes.len() / 2] };
        match part {
            [] => Ok(0),
            part => system::write_at(file, part, position),
        }
    };
    let change = |n: &usize| Some(Change::Write(position, bytes[..*n].to_vec()));
    touch(file, Op::Write, work, change)
}

pub(in crate::util::fs) fn read_at(file: &File, into: &mut [u8], position: u64) -> io::Result<usize> {
    touch(
        file,
        Op::Read,
        |_| system::read_at(file, into, position),
        |_| None,
    )
}

pub(in crate::util::fs) fn set_len(file: &File, size: u64) -> io::Result<()> {
    let work = |_| system::set_len(file, size);
    touch(file, Op::SetLen, work, |()| Some(Change::Len(size)))
}

pub(in crate::util::fs) fn sync(file: &File) -> io::Result<()> {
    if holding(file).is_none() {
        return system::sync(file);
    }
    // Not the real one: nobody pulls the plug of the machine that runs the tests.
    touch(file, Op::Sync, |_| Ok(()), |()| None)?;
    if let Some((disk, id)) = holding(file) {
        let mut state = disk.lock();
        if let Some(node) = state.nodes.get_mut(&id)
            && !node.lost
        {
            let path = node.path.clone();
            node.changes.clear();
            node.durable = whole(&node.file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    Ok(())
}

fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        match system::read_at(file, &mut bytes[done..], done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(bytes)
}

pub(in crate::util::fs) fn sync_dir(dir: &Path) -> io::Result<()> {
    let Some(disk) = over(dir) else {
        return system::sync_dir(dir);
    };
    let mut state = disk.lock();
    state.gate(Op::SyncDir, dir)?;
    if !dir.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let state = &mut *state;
    let inside = |change: &mut NameChange| {
        let path = match change {
            NameChange::Put(path, _) | NameChange::Gone(path) | NameChange::Renamed(path, _) => path,
        };
        path.parent() == Some(dir)
    };
    for change in state.name_changes.extract_if(.., inside) {
        apply(&mut state.durable_names, change);
    }
    state.forget_nameless();
    Ok(())
}

pub(in crate::util::fs) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let Some(disk) = over(from) else {
        return system::rename(from, to);
    };
    let mut state = disk.lock();
    state.gate(Op::Rename, from)?;
    adopt(&mut state, from);
    system::rename(from, to)?;
    if let Some(Entry::File(node)) = state.names.get(from).copied() {
        state.nodes.get_mut(&node).expect("named").path = to.to_owned();
    }
    state.rename(NameChange::Renamed(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Takes in a file that a test made behind the disk's back.
fn adopt(state: &mut State, path: &Path) {
    if path.is_file() && !state.names.contains_key(path) {
        let bytes = std::fs::read(path).unwrap();
        let node = state.add(path, bytes);
        state.names.insert(path.to_owned(), Entry::File(node));
        state.durable_names.insert(path.to_owned(), Entry::File(node));
    }
}

pub(in crate::util::fs) fn remove_file(path: &Path) -> io::Result<()> {
    let Some(disk) = over(path) else {
        return system::remove_file(path);
    };
    let mut state = disk.lock();
    state.gate(Op::Remove, path)?;
    adopt(&mut state, path);
    system::remove_file(path)?;
    state.rename(NameChange::Gone(path.to_owned()));
    Ok(())
}

pub(in crate::util::fs) fn remove_dir_all(path: &Path) -> io::Result<()> {
    if over(path).is_none() {
        return system::remove_dir_all(path);
    }
    for name in list(path)? {
        let inner = path.join(name);
        match inner.is_dir() {
            true => remove_dir_all(&inner)?,
            false => remove_file(&inner)?,
        }
    }
    remove_dir(path)
}

pub(in crate::util::fs) fn remove_dir(path: &Path) -> io::Result<()> {
    let Some(disk) = over(path) else {
        return system::remove_dir(path);
    };
    let mut state = disk.lock();
    state.gate(Op::Remove, path)?;
    system::remove_dir(path)?;
    state.rename(NameChange::Gone(path.to_owned()));
    Ok(())
}

pub(in crate::util::fs) fn create_dir_all(path: &Path) -> io::Result<()> {
    let Some(disk) = over(path) else {
        return system::create_dir_all(path);
    };
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    let mut state = disk.lock();
    state.gate(Op::MakeDir, path)?;
    std::fs::create_dir(path)?;
    state.rename(NameChange::Put(path.to_owned(), Entry::Dir));
    Ok(())
}

pub(in crate::util::fs) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if let Some(disk) = over(path) {
        disk.lock().gate(Op::Read, path)?;
    }
    system::read(path)
}

pub(in crate::util::fs) fn list(dir: &Path) -> io::Result<Vec<OsString>> {
    if let Some(disk) = over(dir) {
        disk.lock().gate(Op::List, dir)?;
    }
    system::list(dir)
}

pub(in crate::util::fs) fn space(dir: &Path) -> io::Result<(u64, u64)> {
    system::space(dir)
}
