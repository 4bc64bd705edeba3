//! Cluster changes that operators ask for, and brokers on their behalf, by writing to ZooKeeper
//! (kafka.admin.AdminUtils).
//!
//! Read [`mod@topics`] (make, enlarge, delete), [`configs`] (dynamic settings), [`mod@reassign`] (move
//! partitions), [`elections`] (move leaderships), [`groups`] (of old consumers). Nothing here waits for
//! the controller to act on what was written, and nothing talks to a broker.

pub mod configs;
pub mod elections;
pub mod groups;
pub mod reassign;
pub mod topics;

mod error;

pub use configs::{
    CLIENT_RATES, Settings, change_client_config, change_topic_config, configured, fetch_config,
    fetch_config_in_order, fetch_configs, fetch_each_config, fetch_topic_config, fetch_topic_configs,
};
pub use error::{Error, Result};
pub use topics::{
    add_partitions, assignments, create_topic, create_topic_with_assignment, delete_topic, live_broker_ids,
    parse_assignment, setup_common_paths, topic_exists, topics,
};
