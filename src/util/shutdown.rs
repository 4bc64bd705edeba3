//! Stopping as a small type: one side asks, any number of sides wait.

use tokio::sync::watch;

/// The asking side. Dropping it asks too, so an owner that goes away stops what it owned.
#[derive(Debug)]
pub struct Shutdown {
    asked: watch::Sender<bool>,
}

/// The waiting side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            asked: watch::channel(false).0,
        }
    }
}

impl Shutdown {
    /// Not asked yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// A waiter.
    pub fn stop(&self) -> Stop {
        Stop {
            asked: self.asked.subscribe(),
        }
    }

    /// Asks every waiter to stop; more than once is fine.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    /// Whether stopping was asked.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

impl Stop {
    /// Returns once stopping is asked or the asking side is gone; at once from then on.
    pub async fn wait(&mut self) {
        let _ = self.asked.wait_for(|asked| *asked).await;
    }

    /// Whether stopping was asked.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() || self.asked.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asking_or_dropping_releases_every_waiter() {
        let shutdown = Shutdown::new();
        let (mut a, mut b) = (shutdown.stop(), shutdown.stop());
        assert!(!a.is_asked());
        shutdown.ask();
        a.wait().await;
        drop(shutdown);
        b.wait().await;
        assert!(b.is_asked());
    }
}
