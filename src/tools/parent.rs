//! Whether the process that started this one still lives.

use std::time::Duration;

use crate::util::clock::Clock;

/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// The process that started this one.
pub(super) struct Parent {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
    #[cfg(windows)]
    process: Option<winsafe::guard::CloseHandleGuard<winsafe::HPROCESS>>,
}

impl Parent {
    /// To be called early: a parent that is gone already cannot be told from the one that adopted
    /// this process.
    #[cfg(unix)]
    pub(super) fn of_this_process() -> Parent {
        Parent {
            id: rustix::process::getppid(),
        }
    }

    /// To be called early: the number of a parent that is gone already may be another's.
    #[cfg(windows)]
    pub(super) fn of_this_process() -> Parent {
        use winsafe::{HPROCESS, HPROCESSLIST, co};
        let own = winsafe::GetCurrentProcessId();
        let parent = HPROCESSLIST::CreateToolhelp32Snapshot(co::TH32CS::SNAPPROCESS, None)
            .ok()
            .and_then(|mut list| {
                let this = list.iter_processes().flatten().find(|p| p.th32ProcessID == own)?;
                Some(this.th32ParentProcessID)
            });
        Parent {
            process: parent.and_then(|id| HPROCESS::OpenProcess(co::PROCESS::SYNCHRONIZE, false, id).ok()),
        }
    }

    /// Returns once it is gone; for ever if there is none to be seen.
    pub(super) async fn gone(&self, clock: &Clock) {
        while self.lives() {
            clock.sleep(LOOK).await;
        }
    }

    /// An orphan is adopted by another process.
    #[cfg(unix)]
    fn lives(&self) -> bool {
        rustix::process::getppid() == self.id
    }

    #[cfg(windows)]
    fn lives(&self) -> bool {
        use winsafe::co;
        match &self.process {
            Some(process) => !matches!(process.WaitForSingleObject(Some(0)), Ok(co::WAIT::OBJECT_0)),
            None => true,
        }
    }
}
