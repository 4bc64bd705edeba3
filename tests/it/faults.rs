//! What happens when a disk fails, with real file systems; each file opens with the promise it checks.

mod disks;
