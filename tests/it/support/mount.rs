//! File systems of a test's own: small ones that can be filled, and one that can be broken.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{FallocateFlags, fallocate};

use super::program::text;

/// A mounted file system, unmounted when dropped.
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    device: Option<String>,
}

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let out = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    match out.status.success() {
        true => Ok(out),
        false => Err(format!("{program} {arguments:?}: {}", text(&out.stderr))),
    }
}

impl Mount {
    /// A file system in memory that holds so much.
    ///
    /// # Errors
    /// What kept it from being mounted: only root may.
    pub fn tmpfs(at: &Path, megabytes: u32) -> Result<Mount, String> {
        std::fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let size = format!("size={megabytes}m");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "tmpfs", &at.display().to_string()],
        )?;
        Ok(Mount {
            at: at.to_owned(),
            device: None,
        })
    }

    /// An ext4 file system of so many bytes in a file, which takes what is written to it. It becomes read-only
    /// at its first error.
    ///
    /// # Errors
    /// As [`tmpfs`](Self::tmpfs).
    pub fn ext4(at: &Path, image: &Path, bytes: u64) -> Result<Mount, String> {
        std::fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let file = std::fs::File::create(image).map_err(|e| e.to_string())?;
        file.set_len(bytes).map_err(|e| e.to_string())?;
        let image = image.display().to_string();
        run("mkfs.ext4", &["-q", "-m", "0", &image])?;
        let device = text(&run("losetup", &["-f", "--show", &image])?.stdout)
            .trim()
            .to_owned();
        let mount = Mount {
            at: at.to_owned(),
            device: Some(device.clone()),
        };
        run(
            "mount",
            &["-o", "errors=remount-ro", &device, &at.display().to_string()],
        )?;
        Ok(mount)
    }

    /// The file that takes the room.
    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Gives the room back that [`fill`](Self::fill) took.
    #[track_caller]
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Takes all room that is left, also while others write.
    #[track_caller]
    pub fn fill(&self) {
        let file = std::fs::File::create(self.filler()).expect("an empty file needs no room");
        let (mut length, mut block) = (0, 1 << 30);
        while block >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), length, block) {
                Ok(()) => length += block,
                Err(_) => block /= 2,
            }
        }
    }

    /// Makes the system believe that it has met an error.
    pub fn break_it(&self) -> Result<(), String> {
        let device = self.device.as_deref().expect("only ext4 is broken");
        let name = device.trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{name}/trigger_fs_error");
        std::fs::write(&trigger, "a test\n").map_err(|e| format!("{trigger}: {e}"))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", &self.at.display().to_string()]);
        if let Some(device) = &self.device {
            let _ = run("losetup", &["-d", device]);
        }
    }
}
