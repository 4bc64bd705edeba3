//! Python peers (kazoo, kafka-python), each in a virtual environment of the target folder.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// The python of an environment that holds exactly these packages, such as `kazoo==2.10.0`; made on
/// first use. Or why it cannot be had.
pub fn python(packages: &[&str]) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let name: String = packages
        .join("_")
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let dir = super::cache_dir().join(format!("python-{name}"));
    let python = dir.join("bin/python");
    let done = dir.join(".complete");
    if done.exists() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(&dir);
    step(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    step(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )?;
    std::fs::write(done, "").map_err(|e| e.to_string())?;
    Ok(python)
}

fn step(command: &mut Command) -> Result<(), String> {
    let out = command
        .output()
        .map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{:?}: {}", command, super::program::text(&out.stderr)))
}
