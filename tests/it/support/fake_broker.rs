//! A broker that does nothing but listen to the controller: it registers, answers the controller's
//! requests, and remembers what it was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use kafka::cluster::{Broker, BrokerId, Endpoint, SecurityProtocol};
use kafka::protocol::leader_and_isr::{LeaderAndIsrRequest, PartitionError, PartitionErrorsResponse};
use kafka::protocol::registration;
use kafka::protocol::stop_replica::StopReplicaRequest;
use kafka::protocol::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use kafka::protocol::{ApiKey, Body, RequestHeader, frame_response};
use kafka::util::clock::{Clock, WallMs};
use kafka::util::codec::Reader;
use kafka::zookeeper::{Session, SessionSettings, paths, znodes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the controller said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Roles.
    Roles(LeaderAndIsrRequest),
    /// The picture.
    Picture(UpdateMetadataRequest),
    /// Copies to give up.
    Stop(StopReplicaRequest),
}

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// At once, without an error.
    #[default]
    Willing,
    /// Not at all.
    Silent,
    /// With this error for the whole request.
    Refusing(i16),
    /// Deletions fail with this error, each.
    Undeleting(i16),
}

#[derive(Default)]
struct Memory {
    told: Mutex<Vec<Told>>,
    manner: Mutex<Manner>,
    /// The registration that the last request was about.
    meant: Mutex<Option<i64>>,
}

/// A registered broker.
pub struct FakeBroker {
    pub id: BrokerId,
    pub session: Session,
    port: u16,
    memory: Arc<Memory>,
    task: JoinHandle<()>,
}

/// A session of its own.
pub async fn session(zookeeper: &str) -> Session {
    let settings = SessionSettings {
        session_timeout: Duration::from_secs(6),
        connection_timeout: Duration::from_secs(20),
    };
    Session::connect(zookeeper, settings, Clock::system())
        .await
        .expect("ZooKeeper is there")
}

impl FakeBroker {
    /// Listens on a free port and registers.
    pub async fn start(id: i32, zookeeper: &str) -> FakeBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let memory = Arc::new(Memory::default());
        let broker = FakeBroker {
            id: BrokerId(id),
            session: session(zookeeper).await,
            port,
            task: tokio::spawn(accept(listener, memory.clone())),
            memory,
        };
        broker.register().await;
        broker
    }

    /// Makes the registration, in the present session.
    pub async fn register(&self) {
        let registration = znodes::broker::Registration {
            broker: Broker {
                id: self.id,
                endpoints: vec![Endpoint {
                    protocol: SecurityProtocol::Plaintext,
                    host: "127.0.0.1".into(),
                    port: self.port.into(),
                }],
            },
            jmx_port: -1,
            timestamp: WallMs(0),
        };
        let data = registration.encode();
        self.session
            .create_ephemeral_checked(&paths::broker(self.id.0), data.as_bytes())
            .await
            .expect("the id is free");
    }

    /// Changes how it answers from now on; what waits for an answer is cut off.
    pub fn behave(&self, manner: Manner) {
        *self.memory.manner.lock().unwrap() = manner;
    }

    /// All that it was told, in order.
    pub fn told(&self) -> Vec<Told> {
        self.memory.told.lock().unwrap().clone()
    }

    /// Forgets what it was told.
    pub fn forget(&self) {
        self.memory.told.lock().unwrap().clear();
    }

    /// The last role that it was given in a partition: leader and leader epoch.
    pub fn role(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        self.told().iter().rev().find_map(|told| match told {
            Told::Roles(request) => request
                .partitions
                .iter()
                .find(|p| p.topic == topic && p.partition == partition)
                .map(|p| (p.leader, p.leader_epoch)),
            _ => None,
        })
    }

    /// The leader of a partition that it last heard of.
    pub fn picture(&self, topic: &str, partition: i32) -> Option<i32> {
        self.told().iter().rev().find_map(|told| match told {
            Told::Picture(request) => request
                .partitions
                .iter()
                .find(|p| p.topic == topic && p.partition == partition)
                .map(|p| p.leader),
            _ => None,
        })
    }

    /// Whether the last request named its present registration, as all of a controller of ours do.
    pub async fn is_meant(&self) -> bool {
        let stat = self.session.exists(&paths::broker(self.id.0)).await;
        let present = stat.expect("ZooKeeper answers").map(|stat| stat.czxid);
        present.is_some() && *self.memory.meant.lock().unwrap() == present
    }

    /// Ends without a word, its session closed.
    pub async fn stop(self) {
        self.task.abort();
        self.session.close().await;
    }
}

async fn accept(listener: TcpListener, memory: Arc<Memory>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, memory.clone()));
    }
}

async fn serve(mut stream: TcpStream, memory: Arc<Memory>) {
    while let Ok(size) = stream.read_i32().await {
        let mut frame = BytesMut::zeroed(usize::try_from(size).unwrap());
        stream.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(frame.freeze());
        let header = RequestHeader::decode(&mut reader).unwrap();
        let manner = *memory.manner.lock().unwrap();
        let error = if let Manner::Refusing(error) = manner {
            error
        } else {
            0
        };
        let errors = |partitions: Vec<(String, i32)>, each: i16| PartitionErrorsResponse {
            error,
            partitions: match error {
                0 => partitions
                    .into_iter()
                    .map(|(topic, partition)| PartitionError {
                        topic,
                        partition,
                        error: each,
                    })
                    .collect(),
                _ => Vec::new(),
            },
        };
        let (told, answer) = match ApiKey::from_i16(header.key) {
            Some(ApiKey::LeaderAndIsr) => {
                let request = LeaderAndIsrRequest::decode(&mut reader, header.version).unwrap();
                let partitions = request.partitions.iter().map(|p| (p.topic.clone(), p.partition));
                let answer = errors(partitions.collect(), 0);
                (
                    Told::Roles(request),
                    frame_response(&answer, header.version, header.correlation_id),
                )
            }
            Some(ApiKey::StopReplica) => {
                let request = StopReplicaRequest::decode(&mut reader, header.version).unwrap();
                let partitions = request.partitions.iter().map(|p| (p.topic.clone(), p.partition));
                let each = match manner {
                    Manner::Undeleting(error) if request.delete_partitions => error,
                    _ => 0,
                };
                let answer = errors(partitions.collect(), each);
                (
                    Told::Stop(request),
                    frame_response(&answer, header.version, header.correlation_id),
                )
            }
            Some(ApiKey::UpdateMetadata) => {
                let request = UpdateMetadataRequest::decode(&mut reader, header.version).unwrap();
                let answer = UpdateMetadataResponse { error };
                (
                    Told::Picture(request),
                    frame_response(&answer, header.version, header.correlation_id),
                )
            }
            other => panic!("a controller does not send {other:?}"),
        };
        *memory.meant.lock().unwrap() = header.client_id.as_deref().and_then(registration::named);
        memory.told.lock().unwrap().push(told);
        if manner == Manner::Silent {
            // Until it behaves otherwise; then the controller has to connect again.
            while *memory.manner.lock().unwrap() == Manner::Silent {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return;
        }
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
