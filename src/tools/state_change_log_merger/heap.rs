//! The binary heap of Scala 2.11's mutable priority queue: which of two lines of the same time comes first
//! is decided by its steps, so they are taken here too.

/// What the heap orders by: the earliest comes out first.
pub(super) trait Dated {
    /// Dates of one length, compared as text.
    fn date(&self) -> &[u8];
}

/// See the module.
#[derive(Debug)]
pub(super) struct Heap<T>(Vec<T>);

impl<T> Default for Heap<T> {
    fn default() -> Heap<T> {
        Heap(Vec::new())
    }
}

impl<T: Dated> Heap<T> {
    /// Puts an item in.
    pub(super) fn push(&mut self, item: T) {
        self.0.push(item);
        let mut at = self.0.len();
        while at > 1 && self.later(at / 2, at) {
            self.0.swap(at - 1, at / 2 - 1);
            at /= 2;
        }
    }

    /// Takes the earliest out.
    pub(super) fn pop(&mut self) -> Option<T> {
        let size = self.0.len();
        if size == 0 {
            return None;
        }
        self.0.swap(0, size - 1);
        let earliest = self.0.pop();
        let mut at = 1;
        while self.0.len() >= 2 * at {
            let mut child = 2 * at;
            if child < self.0.len() && self.later(child, child + 1) {
                child += 1;
            }
            if !self.later(at, child) {
                break;
            }
            self.0.swap(at - 1, child - 1);
            at = child;
        }
        earliest
    }

    /// Whether the item at one place (counted from 1) is later than that at another.
    fn later(&self, one: usize, other: usize) -> bool {
        self.0[one - 1].date() > self.0[other - 1].date()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Dated for (&str, usize) {
        fn date(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    #[test]
    fn the_earliest_comes_out_first() {
        let mut heap = Heap::default();
        for (n, date) in ["5", "3", "9", "1", "3", "7", "0"].into_iter().enumerate() {
            heap.push((date, n));
        }
        let order: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|(date, _)| date).collect();
        assert_eq!(order, ["0", "1", "3", "3", "5", "7", "9"]);
    }
}
