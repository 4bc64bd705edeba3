//! Comparing what the replicas of partitions hold, round by round. Pure: sets of messages in, lines and
//! the next offsets out.

use std::collections::BTreeMap;

use crate::cluster::{BrokerId, TopicPartition};
use crate::message::{self, Offset, SetIter};
use crate::zookeeper::znodes::order::{partition_hash, properties};

/// One replica's answer in a round. A broker that did not answer holds nothing, at -1.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Whose.
    pub(super) replica: BrokerId,
    /// Its high watermark.
    pub(super) high_watermark: Offset,
    /// Messages from the offset that was asked for.
    pub(super) records: bytes::Bytes,
}

/// A difference, in the words of 0.9.0.1 without the time before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Two replicas have different messages next: the replicas are not what they should be, and there
    /// is no going on.
    Offset(String),
    /// Two replicas have different bytes at one offset.
    Checksum(String),
}

/// The next offset to compare, by partition.
#[derive(Debug)]
pub(super) struct Progress {
    offsets: BTreeMap<TopicPartition, Offset>,
    /// In the order in which 0.9.0.1 goes over the partitions.
    order: Vec<TopicPartition>,
}

/// The partition that is furthest behind its high watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lag {
    /// Messages; -1 if nothing is known.
    pub(super) messages: i64,
    /// Which; none if nothing is known.
    pub(super) partition: Option<TopicPartition>,
    /// The next offset to compare there.
    pub(super) offset: Offset,
}

impl Progress {
    /// Begins at these offsets.
    pub(super) fn new(offsets: BTreeMap<TopicPartition, Offset>) -> Progress {
        Progress {
            order: properties(offsets.keys().cloned().collect(), partition_hash),
            offsets,
        }
    }

    /// How many partitions are compared.
    pub(super) fn partitions(&self) -> usize {
        self.offsets.len()
    }

    /// The next offset of a partition; 0 if it is not compared.
    pub(super) fn offset(&self, at: &TopicPartition) -> Offset {
        self.offsets.get(at).copied().unwrap_or_default()
    }

    /// Compares a round's answers up to the lowest high watermark, and moves on over what all replicas
    /// have.
    ///
    /// # Errors
    /// A message that cannot be read, with the replica that sent it.
    pub(super) fn compare(
        &mut self,
        round: &BTreeMap<TopicPartition, Vec<Held>>,
    ) -> Result<(Vec<Difference>, Lag), String> {
        let mut differences = Vec::new();
        let mut worst = Lag {
            messages: -1,
            partition: None,
            offset: -1,
        };
        for at in &self.order {
            let Some(held) = round.get(at) else { continue };
            let offset = self.offsets.entry(at.clone()).or_default();
            partition(at, held, offset, &mut differences)?;
            let highest = held.iter().map(|h| h.high_watermark).max().unwrap_or(-1);
            if highest - *offset > worst.messages {
                worst = Lag {
                    messages: highest - *offset,
                    partition: Some(at.clone()),
                    offset: *offset,
                };
            }
        }
        Ok((differences, worst))
    }
}

fn partition(
    at: &TopicPartition,
    held: &[Held],
    offset: &mut Offset,
    differences: &mut Vec<Difference>,
) -> Result<(), String> {
    let mut sets: Vec<SetIter<'_>> = held.iter().map(|h| SetIter::new(&h.records)).collect();
    loop {
        let mut first: Option<(BrokerId, Offset, u32)> = None;
        for (h, set) in held.iter().zip(&mut sets) {
            let next = set.next().transpose().map_err(|e: message::Error| {
                format!(
                    "Error in processing replica {} in partition {at} at offset {offset}.: {e}",
                    h.replica
                )
            })?;
            // Only what every replica has, and has committed, is compared.
            let Some(m) = next.filter(|m| m.offset < h.high_watermark) else {
                return Ok(());
            };
            match first {
                None => first = Some((h.replica, m.offset, m.crc)),
                Some((replica, other, _)) if other != m.offset => {
                    differences.push(Difference::Offset(format!(
                        "partition {at}: replica {replica}'s offset {other} doesn't match replica {}'s offset {}",
                        h.replica, m.offset
                    )));
                    return Ok(());
                }
                Some((replica, _, crc)) if crc != m.crc => {
                    differences.push(Difference::Checksum(format!(
                        "partition {at} has unmatched checksum at offset {}; replica {replica}'s checksum {crc}; replica {}'s checksum {}",
                        m.offset, h.replica, m.crc
                    )));
                }
                Some(_) => {}
            }
        }
        let Some((_, last, _)) = first else { return Ok(()) };
        *offset = last + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Codec, SetBuilder};

    fn held(replica: i32, high_watermark: Offset, values: &[&str]) -> Held {
        let mut set = SetBuilder::new(Codec::None, 1 << 16);
        for value in values {
            assert!(set.append(None, Some(value.as_bytes())));
        }
        Held {
            replica: BrokerId(replica),
            high_watermark,
            records: set.finish(),
        }
    }

    fn compare(held: Vec<Held>) -> (Vec<Difference>, Lag) {
        let at = TopicPartition::new("t", 0);
        let mut progress = Progress::new(BTreeMap::from([(at.clone(), 0)]));
        let round = BTreeMap::from([(at, held)]);
        progress.compare(&round).unwrap()
    }

    #[test]
    fn equal_replicas_are_gone_over_up_to_the_lowest_high_watermark() {
        let (differences, lag) = compare(vec![held(1, 3, &["a", "b", "c"]), held(2, 2, &["a", "b", "x"])]);
        assert_eq!(differences, []);
        assert_eq!((lag.messages, lag.offset), (1, 2));
    }

    #[test]
    fn different_bytes_at_one_offset_are_told_and_passed_over() {
        let (differences, lag) = compare(vec![held(1, 2, &["a", "b"]), held(2, 2, &["x", "b"])]);
        let [Difference::Checksum(text)] = &differences[..] else {
            panic!("one difference: {differences:?}");
        };
        assert!(
            text.starts_with("partition [t,0] has unmatched checksum at offset 0; replica 1's checksum ")
        );
        assert_eq!((lag.messages, lag.offset), (0, 2));
    }

    #[test]
    fn different_offsets_end_the_comparison() {
        let mut later = held(2, 2, &["b"]);
        let mut bytes = later.records.to_vec();
        bytes[7] = 1;
        later.records = bytes.into();
        let (differences, _) = compare(vec![held(1, 2, &["b"]), later]);
        assert_eq!(
            differences,
            [Difference::Offset(
                "partition [t,0]: replica 1's offset 0 doesn't match replica 2's offset 1".into()
            )]
        );
    }

    #[test]
    fn a_replica_that_did_not_answer_holds_the_comparison_up() {
        let (differences, lag) = compare(vec![held(1, 2, &["a", "b"]), held(2, -1, &[])]);
        assert_eq!(differences, []);
        assert_eq!((lag.messages, lag.offset), (2, 0));
    }
}
