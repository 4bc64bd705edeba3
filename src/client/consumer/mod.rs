//! The consumer of 0.9: a member of a group whose coordinator is a broker, or a reader of partitions picked
//! by hand.
//!
//! Everything happens within the consumer's own calls, most of it within [`Consumer::poll`]: there is no
//! task of its own that joins, commits or sends heartbeats. So a listener is never told of a rebalance while
//! records are being processed; and a member that does not poll for `session.timeout.ms` is out of its
//! group, as with the Java client. Only the connections' reading and writing goes on meanwhile: the next
//! records are fetched while those before are processed.
//!
//! Dropping the future of a call, as `tokio::select!` does, loses nothing but the call's result.
//!
//! ```
//! use std::time::Duration;
//!
//! use kafka::client::{Consumer, ConsumerSettings, HostPort, Producer, ProducerSettings, Record};
//! use kafka::cluster::TopicPartition;
//! use kafka::dev::{DevCluster, DevSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = DevCluster::start(DevSettings {
//!     port: 0,
//!     zookeeper_port: 0,
//!     topics: vec![("orders".to_owned(), 1)],
//!     ..DevSettings::default()
//! })
//! .await?;
//! let bootstrap = HostPort::parse_list(cluster.bootstrap_servers())?;
//!
//! let producer = Producer::start(ProducerSettings {
//!     bootstrap: bootstrap.clone(),
//!     ..ProducerSettings::default()
//! });
//! let record = Record {
//!     topic: "orders".into(),
//!     value: Some("ten apples".into()),
//!     ..Record::default()
//! };
//! producer.send(record).await?.await?;
//! producer.close(None).await;
//!
//! let mut consumer = Consumer::new(ConsumerSettings {
//!     bootstrap,
//!     ..ConsumerSettings::default()
//! })?;
//! let orders = TopicPartition::new("orders", 0);
//! consumer.assign([orders.clone()])?;
//! consumer.seek_to_beginning([&orders])?;
//! let records = consumer.poll(Duration::from_secs(30)).await?;
//! for record in &records {
//!     println!("{}: {:?}", record.offset, record.value);
//! }
//! assert_eq!(consumer.position(&orders).await?, 1);
//! consumer.close().await?;
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, cores decide and a thin shell sends. `subscription` knows what is wanted, what is owned and where
//! it stands; `membership` the way into the group and out of it; `lookups` asks leaders for the ends of
//! partitions; `fetches` fetches and hands out; `commits` commits; `view` asks for metadata. None of them
//! reads a clock or a socket. `drive` feeds them from `lanes`, the connections, and sends what they want
//! sent; `protocol` and `assignor` are what members of a group have to agree on, bit by bit. What users call
//! is in `calls`, `positions` and `topics`; what a rebalance does to them in `rebalance`.

mod assignor;
mod calls;
mod commits;
mod drive;
mod error;
mod fetches;
mod lanes;
mod listener;
mod lookups;
mod membership;
mod positions;
mod protocol;
mod rebalance;
mod records;
mod settings;
mod subscription;
mod topics;
mod view;
mod wakeup;

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use self::commits::Commits;
pub use self::commits::{CommitCallback, Offsets};
use self::drive::Event;
pub use self::error::{Error, Result};
use self::fetches::Fetches;
use self::lanes::Lanes;
use self::listener::Listener;
pub use self::listener::{Listening, RebalanceListener};
use self::lookups::Lookups;
use self::membership::Membership;
pub use self::protocol::{PROTOCOL_TYPE, decode_assignment};
pub use self::records::{ConsumerRecord, IntoIter, Records};
pub use self::settings::{AssignmentStrategy, AutoOffsetReset, ConsumerSettings};
pub use self::subscription::OffsetAndMetadata;
use self::subscription::Subscription;
use self::view::View;
pub use self::wakeup::Wakeup;

/// See the module's head. Must be used within a tokio runtime. Dropping it cuts the connections: the group
/// notices after the session timeout; [`Consumer::close`] is the orderly way.
#[derive(Debug)]
pub struct Consumer {
    settings: ConsumerSettings,
    subscription: Subscription,
    membership: Membership,
    /// What the partition counts of the group's topics were when this member, as leader, shared them out.
    shared_out: BTreeMap<String, i32>,
    lookups: Lookups,
    fetches: Fetches,
    commits: Commits,
    view: View,
    lanes: Lanes<Event>,
    inbox: mpsc::Receiver<Event>,
    /// A question for committed offsets is under way.
    committed_asked: bool,
    /// Not before this.
    committed_at: crate::util::clock::Mono,
    /// To be told by the next poll.
    failures: VecDeque<Error>,
    listener: Option<Listener>,
    wakeup: Wakeup,
    /// Closing is not woken up.
    deaf: bool,
}
