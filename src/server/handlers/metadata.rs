//! Metadata: which brokers live and who leads what, and topics that come to be by being asked for.

use std::collections::BTreeMap;

use ::log::{info, warn};

use super::Caller;
use crate::admin;
use crate::cluster::topic::OFFSETS_TOPIC;
use crate::cluster::{BrokerId, MetadataImage, PartitionState, SecurityProtocol};
use crate::message::Codec;
use crate::protocol::ErrorCode;
use crate::protocol::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use crate::server::services::Services;

/// Answers from the picture of this moment. A topic that is asked for by name and unknown is made,
/// if settings allow; one that cannot be made fails alone.
pub(super) async fn metadata(s: &Services, who: &Caller, request: MetadataRequest) -> MetadataResponse {
    let image = s.metadata.snapshot();
    let mut topics = Vec::new();
    if request.topics.is_empty() {
        topics.extend(
            image
                .topics
                .iter()
                .map(|(name, p)| known(&image, who.listener, name, p)),
        );
    }
    for name in each_once(request.topics) {
        topics.push(match image.topics.get(name.as_str()) {
            Some(partitions) => known(&image, who.listener, &name, partitions),
            None => without_partitions(unknown(s, &image, &name).await, name),
        });
    }
    MetadataResponse {
        brokers: brokers(&image, who.listener),
        topics,
    }
}

/// The names in their order, repetitions left out.
fn each_once(mut names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The live brokers that have an address for `protocol`. One without does not keep the others from
/// being named.
fn brokers(image: &MetadataImage, protocol: SecurityProtocol) -> Vec<MetadataBroker> {
    image
        .brokers
        .values()
        .filter_map(|b| {
            let e = b.endpoint(protocol)?;
            Some(MetadataBroker {
                node_id: b.id.0,
                host: e.host.clone(),
                port: e.port,
            })
        })
        .collect()
}

fn known(
    image: &MetadataImage,
    protocol: SecurityProtocol,
    name: &str,
    partitions: &BTreeMap<i32, PartitionState>,
) -> MetadataTopic {
    MetadataTopic {
        error: ErrorCode::NONE.0,
        topic: name.to_owned(),
        partitions: partitions
            .iter()
            .map(|(p, state)| partition(image, protocol, *p, state))
            .collect(),
    }
}

/// Only brokers that the asker can reach are named. Without the leader among them there is none
/// (5); with others missing the answer is still of use, and 9 says that something is missing.
pub(super) fn partition(
    image: &MetadataImage,
    protocol: SecurityProtocol,
    partition: i32,
    state: &PartitionState,
) -> MetadataPartition {
    let reachable = |id: &BrokerId| {
        image
            .brokers
            .get(id)
            .is_some_and(|b| b.endpoint(protocol).is_some())
    };
    let those = |ids: &[BrokerId]| {
        ids.iter()
            .filter(|id| reachable(id))
            .map(|id| id.0)
            .collect::<Vec<_>>()
    };
    let (leader, all_isr) = (state.leader_and_isr.leader, &state.leader_and_isr.isr);
    let replicas = those(&state.replicas);
    if !reachable(&leader) {
        return MetadataPartition {
            error: ErrorCode::LEADER_NOT_AVAILABLE.0,
            partition,
            leader: BrokerId::NONE.0,
            replicas,
            isr: Vec::new(),
        };
    }
    let isr = those(all_isr);
    let complete = replicas.len() == state.replicas.len() && isr.len() == all_isr.len();
    let error = if complete {
        ErrorCode::NONE
    } else {
        ErrorCode::REPLICA_NOT_AVAILABLE
    };
    MetadataPartition {
        error: error.0,
        partition,
        leader: leader.0,
        replicas,
        isr,
    }
}

fn without_partitions(error: ErrorCode, topic: String) -> MetadataTopic {
    MetadataTopic {
        error: error.0,
        topic,
        partitions: Vec::new(),
    }
}

/// Makes an unknown topic, if it may be made, and says what to answer for it.
pub(super) async fn unknown(s: &Services, image: &MetadataImage, name: &str) -> ErrorCode {
    let internal = name == OFFSETS_TOPIC;
    if !internal && !s.config.auto_create_topics_enable {
        return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    }
    let (partitions, replication) = if internal {
        let wanted = s.config.offsets_topic_replication_factor;
        let live = i32::try_from(image.brokers.len()).unwrap_or(i32::MAX);
        let replication = if live > 0 { wanted.min(live) } else { wanted };
        (s.config.offsets_topic_num_partitions, replication)
    } else {
        (s.config.num_partitions, s.config.default_replication_factor)
    };
    let configs = if internal {
        offsets_topic_configs(s)
    } else {
        BTreeMap::new()
    };
    match admin::create_topic(&s.zookeeper, name, partitions, replication, &configs).await {
        Ok(_) => {
            info!(
                "Auto creation of topic {name} with {partitions} partitions and replication factor {replication} is successful!"
            );
            ErrorCode::LEADER_NOT_AVAILABLE
        }
        // Made by another a moment ago, or not told to us yet.
        Err(admin::Error::TopicExists(_) | admin::Error::TopicMadeMeanwhile(_)) => {
            ErrorCode::LEADER_NOT_AVAILABLE
        }
        Err(e @ (admin::Error::Name(_) | admin::Error::Collision { .. })) => {
            info!("not creating topic: {e}");
            ErrorCode::INVALID_TOPIC_EXCEPTION
        }
        Err(e) => {
            warn!("could not create topic {name}: {e}");
            ErrorCode::UNKNOWN
        }
    }
}

fn offsets_topic_configs(s: &Services) -> BTreeMap<String, String> {
    [
        ("segment.bytes", s.config.offsets_topic_segment_bytes.to_string()),
        ("cleanup.policy", "compact".to_owned()),
        (
            "compression.type",
            match s.config.offsets_topic_compression_codec {
                Codec::None => "uncompressed",
                Codec::Gzip => "gzip",
                Codec::Snappy => "snappy",
                Codec::Lz4 => "lz4",
            }
            .to_owned(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Broker, ControllerEpoch, Endpoint, LeaderAndIsr, LeaderEpoch};

    fn image(brokers: &[(i32, &str)]) -> MetadataImage {
        MetadataImage {
            brokers: brokers
                .iter()
                .map(|(id, endpoint)| {
                    let endpoints = vec![Endpoint::parse(endpoint).unwrap()];
                    (
                        BrokerId(*id),
                        Broker {
                            id: BrokerId(*id),
                            endpoints,
                        },
                    )
                })
                .collect(),
            ..MetadataImage::default()
        }
    }

    fn state(leader: i32, isr: &[i32], replicas: &[i32]) -> PartitionState {
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        PartitionState {
            leader_and_isr: LeaderAndIsr {
                leader: BrokerId(leader),
                leader_epoch: LeaderEpoch(0),
                isr: ids(isr),
                controller_epoch: ControllerEpoch(1),
                zk_version: 0,
            },
            replicas: ids(replicas),
        }
    }

    fn answer(image: &MetadataImage, state: &PartitionState) -> (i16, i32, Vec<i32>, Vec<i32>) {
        let p = partition(image, SecurityProtocol::Plaintext, 0, state);
        (p.error, p.leader, p.replicas, p.isr)
    }

    #[test]
    fn a_dead_or_missing_leader_is_5_with_the_living_replicas_and_no_isr() {
        let image = image(&[(2, "PLAINTEXT://h:1")]);
        assert_eq!(
            answer(&image, &state(1, &[1, 2], &[1, 2])),
            (5, -1, vec![2], vec![])
        );
        assert_eq!(answer(&image, &state(-1, &[], &[1, 2])), (5, -1, vec![2], vec![]));
    }

    #[test]
    fn a_dead_follower_is_9_with_a_usable_leader() {
        let image = image(&[(2, "PLAINTEXT://h:1")]);
        assert_eq!(answer(&image, &state(2, &[2], &[1, 2])), (9, 2, vec![2], vec![2]));
        assert_eq!(answer(&image, &state(2, &[2], &[2])), (0, 2, vec![2], vec![2]));
    }

    #[test]
    fn a_broker_without_the_askers_protocol_is_left_out_and_harms_nobody() {
        let image = image(&[(1, "SSL://h:1"), (2, "PLAINTEXT://h:2")]);
        let named = brokers(&image, SecurityProtocol::Plaintext);
        assert_eq!(named.iter().map(|b| b.node_id).collect::<Vec<_>>(), [2]);
        assert_eq!(
            answer(&image, &state(1, &[1, 2], &[1, 2])),
            (5, -1, vec![2], vec![])
        );
        assert_eq!(
            answer(&image, &state(2, &[1, 2], &[1, 2])),
            (9, 2, vec![2], vec![2])
        );
    }

    #[test]
    fn a_topic_named_twice_is_answered_once() {
        let names = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(each_once(names), ["b", "a"]);
    }
}
