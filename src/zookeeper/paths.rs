//! Every path that Kafka 0.9.0.1 uses in ZooKeeper, relative to the chroot.
//!
//! Knows names only: what stands in a node is the business of [`super::znodes`].

/// Old consumers live under it; always open to everyone.
pub const CONSUMERS: &str = "/consumers";
/// Registrations of live brokers, ephemeral.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Assigned replicas by topic.
pub const BROKER_TOPICS: &str = "/brokers/topics";
/// Its version counts the broker ids that were generated.
pub const BROKER_SEQUENCE_ID: &str = "/brokers/seqid";
/// Who is controller, ephemeral.
pub const CONTROLLER: &str = "/controller";
/// How many controllers there have been, a decimal number.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The operator's wish to move replicas.
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// The operator's wish to hand leadership back to the first replicas.
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// A child per topic that is to be deleted.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Parent of the configurations by entity type.
pub const CONFIG: &str = "/config";
/// Sequential notifications of changed configurations.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// Sequential notifications of changed in-sync replicas.
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// Access control lists by resource type and name.
pub const ACLS: &str = "/kafka-acl";
/// Sequential notifications of changed access control lists.
pub const ACL_CHANGES: &str = "/kafka-acl-changes";

/// Start of the name of a child of [`CONFIG_CHANGES`], before ten digits.
pub const CONFIG_CHANGE_PREFIX: &str = "config_change_";
/// Start of the name of a child of [`ISR_CHANGES`], before ten digits.
pub const ISR_CHANGE_PREFIX: &str = "isr_change_";
/// Start of the name of a child of [`ACL_CHANGES`], before ten digits.
pub const ACL_CHANGE_PREFIX: &str = "acl_changes_";

/// The paths that every broker creates at start, with null data and with their parents,
/// in Kafka's order.
pub const COMMON: [&str; 9] = [
    CONSUMERS,
    BROKER_IDS,
    BROKER_TOPICS,
    CONFIG_CHANGES,
    "/config/topics",
    "/config/clients",
    DELETE_TOPICS,
    BROKER_SEQUENCE_ID,
    ISR_CHANGES,
];

/// The kinds of thing that have a dynamic configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityType {
    /// `topics`
    Topic,
    /// `clients`
    Client,
}

impl EntityType {
    /// The word in paths and notifications.
    pub fn name(self) -> &'static str {
        match self {
            EntityType::Topic => "topics",
            EntityType::Client => "clients",
        }
    }

    /// The type that `name` stands for.
    pub fn parse(name: &str) -> Option<EntityType> {
        [EntityType::Topic, EntityType::Client]
            .into_iter()
            .find(|t| t.name() == name)
    }
}

/// A live broker's registration.
pub fn broker(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// A topic's assigned replicas.
pub fn topic(topic: &str) -> String {
    format!("{BROKER_TOPICS}/{topic}")
}

/// Parent of a topic's partitions; made by the controller.
pub fn topic_partitions(topic: &str) -> String {
    format!("{BROKER_TOPICS}/{topic}/partitions")
}

/// Leader and in-sync replicas of one partition.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{BROKER_TOPICS}/{topic}/partitions/{partition}/state")
}

/// The mark that a topic is to be deleted.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// Parent of the configurations of one entity type.
pub fn entity_configs(entity: EntityType) -> String {
    format!("{CONFIG}/{}", entity.name())
}

/// The overrides of one topic or client.
pub fn entity_config(entity: EntityType, name: &str) -> String {
    format!("{CONFIG}/{}/{name}", entity.name())
}

/// The overrides of one topic.
pub fn topic_config(topic: &str) -> String {
    entity_config(EntityType::Topic, topic)
}

/// The path to pass to a sequential create of a configuration notification.
pub fn config_change_sequence() -> String {
    format!("{CONFIG_CHANGES}/{CONFIG_CHANGE_PREFIX}")
}

/// The path to pass to a sequential create of an in-sync replica notification.
pub fn isr_change_sequence() -> String {
    format!("{ISR_CHANGES}/{ISR_CHANGE_PREFIX}")
}

/// One consumer group.
pub fn consumer_group(group: &str) -> String {
    format!("{CONSUMERS}/{group}")
}

/// Registrations of the group's members.
pub fn consumer_ids(group: &str) -> String {
    format!("{CONSUMERS}/{group}/ids")
}

/// One member's registration, ephemeral.
pub fn consumer_id(group: &str, consumer: &str) -> String {
    format!("{CONSUMERS}/{group}/ids/{consumer}")
}

/// Parent of all claims of the group.
pub fn consumer_owners(group: &str) -> String {
    format!("{CONSUMERS}/{group}/owners")
}

/// Parent of the claims on one topic's partitions.
pub fn consumer_topic_owners(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}")
}

/// Which consumer thread reads a partition, ephemeral.
pub fn consumer_owner(group: &str, topic: &str, partition: i32) -> String {
    format!("{CONSUMERS}/{group}/owners/{topic}/{partition}")
}

/// Parent of all offsets of the group.
pub fn consumer_offsets(group: &str) -> String {
    format!("{CONSUMERS}/{group}/offsets")
}

/// Parent of the offsets of one topic's partitions.
pub fn consumer_topic_offsets(group: &str, topic: &str) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}")
}

/// The group's next offset in a partition, a decimal number.
pub fn consumer_offset(group: &str, topic: &str, partition: i32) -> String {
    format!("{CONSUMERS}/{group}/offsets/{topic}/{partition}")
}

/// The sequence number at the end of a notification's name, such as 12 of
/// `config_change_0000000012`; none when the name is another.
pub fn sequence_number(name: &str, prefix: &str) -> Option<i64> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// All but the last component; none for the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_end_at_the_root() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/"), None);
    }

    #[test]
    fn sequence_numbers_are_the_digits_after_the_prefix() {
        let n = |name| sequence_number(name, CONFIG_CHANGE_PREFIX);
        assert_eq!(n("config_change_0000000012"), Some(12));
        assert_eq!(n("config_change_"), None);
        assert_eq!(n("config_change_-000000001"), None);
        assert_eq!(n("other_0000000012"), None);
    }
}
