//! Many pieces of work on some threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log::Result;

/// Does `work` on all items with that many threads, 1 at least; the results have the order of the items.
///
/// # Errors
/// One of those that happened; what was not begun by then is not done.
pub(super) fn in_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let left = Mutex::new(items.into_iter().zip(&mut results));
    let failed = AtomicBool::new(false);
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let next = left.lock().expect("nothing in here panics").next();
            let Some((item, result)) = next else { break };
            match work(item) {
                Ok(done) => *result = Some(done),
                Err(e) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p))
        };
        running.into_iter().map(join).collect::<Vec<_>>()
    })
    .into_iter()
    .collect::<Result<()>>()?;
    let done = |result: Option<R>| result.expect("all was done, as nothing failed");
    Ok(results.into_iter().map(done).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Error;

    #[test]
    fn results_have_the_order_of_the_items_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7, 300] {
            let doubled = in_parallel(threads, (0..200).collect(), |n: u32| Ok(2 * n)).unwrap();
            assert_eq!(doubled, (0..200).map(|n| 2 * n).collect::<Vec<_>>(), "{threads}");
        }
        assert_eq!(in_parallel(3, Vec::<u32>::new(), Ok).unwrap(), []);
    }

    #[test]
    fn an_error_ends_it() {
        for threads in [1, 4] {
            let result = in_parallel(threads, (0..100).collect(), |n| match n {
                30 => Err(Error::NegativeOffset(n)),
                n => Ok(n),
            });
            assert!(matches!(result, Err(Error::NegativeOffset(30))), "{threads}");
        }
    }
}
