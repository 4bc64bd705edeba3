//! Names for leaderships, so that work begun in one is not taken for work of the next.

use std::sync::atomic::{AtomicU64, Ordering};

/// One stretch of time in which this broker leads a partition without a break. No two are equal, not
/// those of a partition that was deleted and made again either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// A new one, unlike all others.
    pub fn begin() -> Term {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Term(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
