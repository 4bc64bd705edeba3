//! Log directories that fail, and what becomes of their partitions: this broker gives up its roles in
//! them, answers that it does not lead, and hands its leadership on. With no directory left, the broker ends.

use std::sync::Arc;

use ::log::error;

use crate::util::blocking;
use crate::util::shutdown::Stop;

use super::manager::ReplicaManager;

impl ReplicaManager {
    /// A disk failed while something was done, which `why` says. The last disk takes the broker with it.
    pub(super) fn disk_failed(&self, why: &str) {
        match self.logs.dirs().is_empty() {
            true => self.fatal.halt(why),
            false => error!("{why}"),
        }
    }

    /// Gives up the partitions of each directory that fails.
    pub(super) async fn keep_offline(self: Arc<Self>, mut stop: Stop) {
        let mut failures = self.logs.failures();
        // Also those that failed before.
        failures.mark_changed();
        loop {
            tokio::select! {
                () = stop.wait() => return,
                seen = failures.changed() => if seen.is_err() {
                    return;
                },
            }
            let me = self.clone();
            blocking::on_thread(move || me.give_up_offline()).await;
        }
    }

    fn give_up_offline(&self) {
        let offline = self.logs.offline_dirs();
        if self.logs.dirs().is_empty() {
            let names: Vec<_> = offline.iter().map(|d| d.display().to_string()).collect();
            self.fatal.halt(&format!(
                "Shutdown broker because all log dirs in {} have failed",
                names.join(", ")
            ));
        }
        for partition in self.all() {
            let failed = partition.log().is_some_and(|log| log.check_directory().is_err());
            if failed && partition.go_offline() {
                self.handovers.push(partition.id.clone());
            }
        }
    }
}
