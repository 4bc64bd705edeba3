//! Whether a follower's messages are the leader's: looks at the bytes of both. Pure.
//!
//! Followers copy bytes, so equal messages are equal bytes, wrappers included. Not so in compacted topics,
//! where each broker cleans for itself: there messages are compared one by one, and one that either side
//! lacks tells nothing.

use bytes::Bytes;

use crate::message::set::{self, ENTRY_OVERHEAD};
use crate::message::{self, Message, Offset};

/// What a comparison showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// All is equal up to here.
    pub up_to: Offset,
    /// How many bytes that took: of the leader's, in a compacted log of the follower's.
    pub bytes: usize,
    /// Whether a difference follows, rather than the end of either side.
    pub differs: bool,
}

/// Compares the leader's bytes with the follower's, which both begin with the entry at `from`. A partial
/// entry at the end of `theirs` is left out of account.
///
/// # Errors
/// Bytes of the leader's that are no entry.
pub fn compare(theirs: &[u8], mine: &[u8], from: Offset) -> message::Result<Compared> {
    let mut compared = Compared {
        up_to: from,
        bytes: 0,
        differs: false,
    };
    while let Some(entry) = set::next_entry(theirs, compared.bytes)? {
        let at = compared.bytes;
        let theirs = &theirs[at..entry.end];
        let mine = mine.get(at..).unwrap_or_default();
        let there = &mine[..theirs.len().min(mine.len())];
        if there != &theirs[..there.len()] {
            compared.differs = true;
            break;
        }
        if there.len() < theirs.len() {
            // Only the end of a file ends an entry of the same size early.
            compared.differs = there.len() >= ENTRY_OVERHEAD;
            break;
        }
        compared.bytes = entry.end;
        compared.up_to = entry.offset + 1;
    }
    Ok(compared)
}

/// The leader's part of a compacted log, to be compared with the follower's piece by piece.
#[derive(Debug)]
pub struct Compacted {
    theirs: Vec<Message>,
    next: usize,
}

impl Compacted {
    /// Of the leader's bytes.
    ///
    /// # Errors
    /// Those that cannot be read.
    pub fn new(theirs: &Bytes) -> message::Result<Compacted> {
        Ok(Compacted {
            theirs: message::flatten(theirs, false)?,
            next: 0,
        })
    }

    /// The offset of the leader's last message.
    pub fn last(&self) -> Option<Offset> {
        self.theirs.last().map(|m| m.offset)
    }

    /// Compares with the next of the follower's bytes, which begin with the entry at `from`. Without a
    /// difference `up_to` is behind the last of them, or behind the leader's last message.
    ///
    /// # Errors
    /// Bytes that cannot be read.
    pub fn compare(&mut self, mine: &Bytes, from: Offset) -> message::Result<Compared> {
        let mut compared = Compared {
            up_to: from,
            bytes: 0,
            differs: false,
        };
        while let Some(entry) = set::next_entry(mine, compared.bytes)? {
            for message in message::flatten(&mine.slice(compared.bytes..entry.end), false)? {
                while self
                    .theirs
                    .get(self.next)
                    .is_some_and(|t| t.offset < message.offset)
                {
                    self.next += 1;
                }
                match self.theirs.get(self.next) {
                    Some(theirs) if theirs.offset == message.offset && *theirs != message => {
                        compared.differs = true;
                        return Ok(compared);
                    }
                    Some(_) => {}
                    None => {
                        compared.up_to = compared.up_to.max(self.last().map_or(from, |last| last + 1));
                        return Ok(compared);
                    }
                }
            }
            compared.bytes = entry.end;
            compared.up_to = entry.offset + 1;
        }
        Ok(compared)
    }
}

/// Where in `set` the first entry begins that reaches to `offset` or beyond.
///
/// # Errors
/// Bytes that are no entry.
pub fn position_of(set: &[u8], offset: Offset) -> message::Result<usize> {
    let mut at = 0;
    while let Some(entry) = set::next_entry(set, at)? {
        if entry.offset >= offset {
            break;
        }
        at = entry.end;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Codec, SetBuilder};

    /// Entries with these values, at offsets from `first` on.
    fn plain(first: Offset, values: &[&str]) -> Vec<u8> {
        let mut all = Vec::new();
        for (n, value) in (first..).zip(values) {
            let mut builder = SetBuilder::new(Codec::None, 1 << 20);
            assert!(builder.append(Some(b"k"), Some(value.as_bytes())));
            let mut one = builder.finish().to_vec();
            one[..8].copy_from_slice(&n.to_be_bytes());
            all.extend(one);
        }
        all
    }

    fn shown(c: Compared) -> (Offset, usize, bool) {
        (c.up_to, c.bytes, c.differs)
    }

    #[test]
    fn equal_bytes_are_equal_up_to_the_end_of_the_shorter_side() {
        let (two, three) = (plain(5, &["a", "b"]), plain(5, &["a", "b", "c"]));
        let one = plain(5, &["a"]).len();
        assert_eq!(shown(compare(&three, &two, 5).unwrap()), (7, 2 * one, false));
        assert_eq!(shown(compare(&two, &three, 5).unwrap()), (7, 2 * one, false));
        // Cut within an entry, on either side.
        assert_eq!(
            shown(compare(&three[..one + 9], &three, 5).unwrap()),
            (6, one, false)
        );
        assert_eq!(
            shown(compare(&three, &three[..one + 9], 5).unwrap()),
            (6, one, false)
        );
        assert_eq!(shown(compare(&[], &two, 5).unwrap()), (5, 0, false));
    }

    #[test]
    fn another_value_offset_or_size_is_a_difference() {
        let mine = plain(5, &["a", "b", "c"]);
        let one = plain(5, &["a"]).len();
        for theirs in [&["a", "x", "c"][..], &["a", "bb"], &["a", ""]] {
            assert_eq!(
                shown(compare(&plain(5, theirs), &mine, 5).unwrap()),
                (6, one, true)
            );
        }
        let gap = [plain(5, &["a"]), plain(7, &["c"])].concat();
        assert_eq!(shown(compare(&gap, &mine, 5).unwrap()), (6, one, true));
        // A larger entry of which only the beginning was read.
        let larger = plain(5, &["a", "a much longer one"]);
        let cut = &larger[..2 * one];
        assert_eq!(
            shown(compare(&plain(5, &["a", "b"]), cut, 5).unwrap()),
            (6, one, true)
        );
    }

    #[test]
    fn in_a_compacted_log_what_one_side_lacks_is_no_difference() {
        let mine = Bytes::from(plain(5, &["a", "b", "c", "d"]));
        let theirs = Bytes::from([plain(3, &["y"]), plain(6, &["b"]), plain(8, &["d"])].concat());
        let mut compacted = Compacted::new(&theirs).unwrap();
        assert_eq!(compacted.last(), Some(8));
        assert_eq!(
            shown(compacted.compare(&mine, 5).unwrap()),
            (9, mine.len(), false)
        );

        let other = Bytes::from([plain(6, &["b"]), plain(7, &["x"])].concat());
        let compared = Compacted::new(&other).unwrap().compare(&mine, 5).unwrap();
        assert_eq!((compared.up_to, compared.differs), (7, true));

        // The leader's part ends before the follower's: as far as it goes.
        let short = Bytes::from(plain(6, &["b"]));
        let compared = Compacted::new(&short).unwrap().compare(&mine, 5).unwrap();
        assert_eq!((compared.up_to, compared.differs), (7, false));
    }

    #[test]
    fn a_wrapper_that_was_cleaned_equals_the_whole_one() {
        let wrapper = |values: &[(Offset, &str)]| {
            let mut builder = SetBuilder::new(Codec::Gzip, 1 << 20);
            for (_, value) in values {
                assert!(builder.append(Some(b"k"), Some(value.as_bytes())));
            }
            builder.finish()
        };
        let whole = wrapper(&[(0, "a"), (1, "b")]);
        let mut compacted = Compacted::new(&Bytes::from(plain(1, &["b"]))).unwrap();
        let compared = compacted.compare(&whole, 0).unwrap();
        assert_eq!((compared.up_to, compared.differs), (2, false));
        let mut compacted = Compacted::new(&Bytes::from(plain(1, &["x"]))).unwrap();
        let compared = compacted.compare(&whole, 0).unwrap();
        assert_eq!(
            (compared.up_to, compared.differs),
            (0, true),
            "cut before the whole wrapper"
        );
    }

    #[test]
    fn the_rest_begins_with_the_first_entry_that_reaches_the_copys_end() {
        let set = plain(5, &["a", "b", "c"]);
        let one = set.len() / 3;
        assert_eq!(position_of(&set, 0).unwrap(), 0);
        assert_eq!(position_of(&set, 6).unwrap(), one);
        assert_eq!(position_of(&set, 9).unwrap(), set.len());
    }
}
