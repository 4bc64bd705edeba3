//! The one door from async code to the disk.
//!
//! An append to the page cache costs less than a hop to another thread, so [`in_place`] runs the
//! work where it stands; [`on_thread`] is for work that may take long (recovery, deletion, fsync).

/// Runs short disk work on the calling thread.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Runs long disk work on a thread made for blocking, and returns its result.
///
/// A panic of `work` goes on in the caller. Must be called within a tokio runtime.
pub async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) => match e.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels; then nobody waits for the answer.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Waits for something from within work that [`on_thread`] runs.
///
/// # Panics
/// Elsewhere: a thread of the runtime itself must not block.
pub fn wait<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(what)
}
