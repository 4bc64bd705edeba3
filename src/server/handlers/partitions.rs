//! What requests that name partitions have in common.

use std::collections::HashMap;

use crate::cluster::TopicPartition;

/// Each partition once, those of a topic side by side.
///
/// 0.9.0.1 reads such requests into a map: of a partition named twice the last entry counts, and the
/// answers have no promised order.
pub(super) fn each_once<T>(mut items: Vec<(TopicPartition, T)>) -> Vec<(TopicPartition, T)> {
    if items.len() < 2 {
        return items;
    }
    let last: HashMap<TopicPartition, usize> = items
        .iter()
        .enumerate()
        .map(|(at, (id, _))| (id.clone(), at))
        .collect();
    if last.len() < items.len() {
        let mut at = 0;
        items.retain(|(id, _)| {
            at += 1;
            last[id] == at - 1
        });
    }
    items.sort_by(|(a, _), (b, _)| a.topic.cmp(&b.topic));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_partition_named_twice_the_last_counts_and_topics_stay_together() {
        let id = TopicPartition::new;
        let items = vec![(id("b", 0), 1), (id("a", 1), 2), (id("b", 0), 3), (id("a", 0), 4)];
        let expected = vec![(id("a", 1), 2), (id("a", 0), 4), (id("b", 0), 3)];
        assert_eq!(each_once(items), expected);
    }
}
