//! What a poll hands out.

use bytes::Bytes;

use crate::cluster::TopicPartition;
use crate::message::Offset;

/// One message and where it stands. Cheap to clone: it shares the bytes of the fetch it came with, which
/// are kept until the last of its records is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its topic and partition.
    pub partition: TopicPartition,
    /// Its place in the partition.
    pub offset: Offset,
    /// `None` for null.
    pub key: Option<Bytes>,
    /// `None` for null.
    pub value: Option<Bytes>,
}

impl ConsumerRecord {
    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.partition.topic
    }
}

/// The records of one poll, by partition; those of one partition in the order of their offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// No partition is empty.
    partitions: Vec<(TopicPartition, Vec<ConsumerRecord>)>,
}

impl Records {
    /// Adds a partition's records; none are no partition.
    pub(super) fn push(&mut self, partition: TopicPartition, records: Vec<ConsumerRecord>) {
        if !records.is_empty() {
            self.partitions.push((partition, records));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.partitions.iter().map(|(_, r)| r.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.partitions.iter().flat_map(|(_, r)| r)
    }

    /// The partitions that have some, each with its own.
    pub fn by_partition(&self) -> impl Iterator<Item = (&TopicPartition, &[ConsumerRecord])> {
        self.partitions.iter().map(|(p, r)| (p, r.as_slice()))
    }

    /// A partition's; empty if it has none.
    pub fn of(&self, partition: &TopicPartition) -> &[ConsumerRecord] {
        let found = self.partitions.iter().find(|(p, _)| p == partition);
        found.map_or(&[], |(_, records)| records)
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = &'a ConsumerRecord;
    type IntoIter = Box<dyn Iterator<Item = &'a ConsumerRecord> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl IntoIterator for Records {
    type Item = ConsumerRecord;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter {
            partitions: self.partitions.into_iter(),
            current: Vec::new().into_iter(),
        }
    }
}

/// The records of a poll one by one.
#[derive(Clone, Debug)]
pub struct IntoIter {
    partitions: std::vec::IntoIter<(TopicPartition, Vec<ConsumerRecord>)>,
    current: std::vec::IntoIter<ConsumerRecord>,
}

impl Iterator for IntoIter {
    type Item = ConsumerRecord;

    fn next(&mut self) -> Option<ConsumerRecord> {
        loop {
            if let Some(record) = self.current.next() {
                return Some(record);
            }
            self.current = self.partitions.next()?.1.into_iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let later: usize = self.partitions.as_slice().iter().map(|(_, r)| r.len()).sum();
        let all = self.current.len() + later;
        (all, Some(all))
    }
}

impl ExactSizeIterator for IntoIter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_can_be_had_by_partition_or_all_in_a_row() {
        let mut records = Records::default();
        let record = |partition: i32, offset| ConsumerRecord {
            partition: TopicPartition::new("t", partition),
            offset,
            key: None,
            value: Some("v".into()),
        };
        records.push(TopicPartition::new("t", 1), vec![record(1, 5), record(1, 6)]);
        records.push(TopicPartition::new("t", 2), vec![]);
        records.push(TopicPartition::new("t", 0), vec![record(0, 9)]);
        assert_eq!((records.len(), records.is_empty()), (3, false));
        assert_eq!(records.by_partition().count(), 2);
        assert_eq!(records.of(&TopicPartition::new("t", 0)), [record(0, 9)]);
        assert!(records.of(&TopicPartition::new("t", 2)).is_empty());
        let offsets: Vec<Offset> = records.iter().map(|r| r.offset).collect();
        assert_eq!(offsets, [5, 6, 9]);
        assert!(records.into_iter().map(|r| r.offset).eq(offsets));
    }
}
