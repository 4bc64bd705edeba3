//! Which brokers get the replicas of new partitions (AdminUtils.assignReplicasToBrokers). Pure: the
//! caller brings the random start.

use std::collections::BTreeMap;

use super::ids::BrokerId;

/// Why there is no assignment. The texts are Kafka's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Zero or fewer partitions were asked for.
    #[error("number of partitions must be larger than 0")]
    Partitions,
    /// Zero or fewer replicas were asked for.
    #[error("replication factor must be larger than 0")]
    Replication,
    /// More replicas than brokers.
    #[error("replication factor: {asked} larger than available brokers: {brokers}")]
    Brokers {
        /// Replicas asked for.
        asked: i32,
        /// Brokers alive.
        brokers: usize,
    },
}

/// Spreads `partitions` new partitions, numbered from `first_partition`, over `brokers`.
///
/// First replicas go round the broker list from `start`; each partition's other replicas follow its
/// first at a distance that begins at `shift` and grows each time the list is gone through.
pub fn assign(
    brokers: &[BrokerId],
    partitions: i32,
    replication: i32,
    start: usize,
    shift: usize,
    first_partition: i32,
) -> Result<BTreeMap<i32, Vec<BrokerId>>, Error> {
    if partitions <= 0 {
        return Err(Error::Partitions);
    }
    if replication <= 0 {
        return Err(Error::Replication);
    }
    let n = brokers.len();
    let others = usize::try_from(replication).expect("checked above") - 1;
    if others >= n {
        return Err(Error::Brokers {
            asked: replication,
            brokers: n,
        });
    }
    let mut shift = shift;
    let mut assignment = BTreeMap::new();
    for number in first_partition..first_partition.saturating_add(partitions) {
        let p = usize::try_from(number).unwrap_or(0);
        if p > 0 && p % n == 0 {
            shift += 1;
        }
        let first = (p + start) % n;
        let mut replicas = vec![brokers[first]];
        replicas.extend((0..others).map(|j| brokers[(first + 1 + (shift + j) % (n - 1)) % n]));
        assignment.insert(number, replicas);
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_go_round_and_shift_after_each_lap() {
        let brokers: Vec<_> = (0..5).map(BrokerId).collect();
        let got = assign(&brokers, 10, 3, 0, 0, 0).unwrap();
        let want = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        for (p, replicas) in want.iter().enumerate() {
            assert_eq!(got[&(p as i32)], replicas.map(BrokerId));
        }
    }

    #[test]
    fn impossible_wishes_have_kafkas_words() {
        let one = [BrokerId(7)];
        assert_eq!(
            assign(&one, 1, 3, 0, 0, 0).unwrap_err().to_string(),
            "replication factor: 3 larger than available brokers: 1"
        );
        assert_eq!(assign(&one, 0, 1, 0, 0, 0), Err(Error::Partitions));
        assert_eq!(assign(&one, 1, 0, 0, 0, 0), Err(Error::Replication));
        assert_eq!(assign(&one, 2, 1, 9, 9, 0).unwrap()[&1], [BrokerId(7)]);
    }
}
