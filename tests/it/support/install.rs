//! An install directory like `kafka_2.11-0.9.0.1/`, with the binary under test.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The directory: `bin/`, `config/` as in the source tree, the binary in `libs/`. Made once per run.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = super::cache_dir().join(format!("install-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        super::copy_dir(&super::root().join("bin"), &dir.join("bin"));
        super::copy_dir(&super::root().join("config"), &dir.join("config"));
        std::fs::create_dir_all(dir.join("libs")).expect("the target folder can be written");
        let binary = Path::new(env!("CARGO_BIN_EXE_kafka"));
        let to = dir
            .join("libs")
            .join(binary.file_name().expect("a binary has a name"));
        std::fs::hard_link(binary, &to)
            .or_else(|_| std::fs::copy(binary, &to).map(drop))
            .expect("the binary can be installed");
        sweep(&dir);
        dir
    })
}

/// A launcher's path by its name without `.sh`.
pub fn launcher(name: &str) -> PathBuf {
    dir().join("bin").join(format!("{name}.sh"))
}

/// Removes the directories of runs whose process is gone.
fn sweep(own: &Path) {
    let Ok(entries) = std::fs::read_dir(super::cache_dir()) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        let pid = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("install-"));
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        if path != own && pid.is_some_and(gone) && cfg!(target_os = "linux") {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}
