//! Starts a broker's parts, one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::log::{info, warn};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::parts::{Listeners, Logs, Parts, Replicas, State};
use super::{Error, Result, TARGET};
use crate::admin;
use crate::cluster::{BrokerId, Endpoint, SecurityProtocol};
use crate::config::BrokerConfig;
use crate::config::broker::InterBrokerProtocol;
use crate::controller::{Controller, ControllerSettings};
use crate::coordinator::{Coordinator, CoordinatorSettings};
use crate::log::{CleanerSettings, LogManager, ManagerSettings};
use crate::metrics::Registry;
use crate::network::{self, Limits, Listener, NetworkSettings};
use crate::replica::{Fatal, ReplicaManager, ReplicaSettings};
use crate::server::csv_reporter::CsvReporter;
use crate::server::dynamic::DynamicConfigManager;
use crate::server::handlers::Dispatch;
use crate::server::identity::{self, Wishes};
use crate::server::metadata_cache::MetadataCache;
use crate::server::quota::Quotas;
use crate::server::registration::{Identity, Membership, Registration};
use crate::server::services::Services;
use crate::server::{controlled_shutdown, local_host};
use crate::util::blocking;
use crate::util::clock::Clock;
use crate::util::shutdown::Shutdown;
use crate::zookeeper::paths::{self, EntityType};
use crate::zookeeper::{self, Session, SessionSettings, znodes};

/// A line follows the one that says `started` after this time: some who wait for that line read the
/// log by bursts, and see the end of one only when the next begins.
const AFTERTHOUGHT: Duration = Duration::from_millis(100);

/// What answers, where it listens, and where clients are told to connect.
pub(super) type Assembled = (Arc<Services>, Vec<Endpoint>, Vec<Endpoint>);

/// Starts one part after the other; `parts` holds what is running when one fails.
pub(super) async fn assemble(
    parts: &mut Parts,
    config: Arc<BrokerConfig>,
    metrics: Registry,
) -> Result<Assembled> {
    let clock = parts.clock.clone();
    info!(target: TARGET, "starting");
    refuse_strange_protocols(&config)?;

    let report = |csv| CsvReporter::start(csv, metrics.clone(), clock.clone());
    parts.reporter = config.csv_reporter.clone().map(report);

    let zookeeper = connect(&config, &clock).await?;
    parts.zookeeper = Some(zookeeper.clone());

    let logs = open_logs(&config, &zookeeper, &clock).await?;
    logs.show_in(&metrics);
    let shutdown = Shutdown::new();
    let chores = logs.start(shutdown.stop());
    parts.logs = Some(Logs {
        manager: logs.clone(),
        shutdown,
        chores,
    });

    let wishes = Wishes {
        configured: config.broker_id,
        generate: config.broker_id_generation_enable,
        reserved_max: config.reserved_broker_max_id,
    };
    let id = BrokerId(identity::establish(&config.log_dirs, wishes, &zookeeper, &clock).await?);
    parts.id = id;

    let listeners = bind(&config, &clock)?;
    let bound: Vec<Endpoint> = listeners.iter().map(bound_endpoint).collect();
    let advertised = advertised(&config, &bound);

    let metadata = MetadataCache::default();
    let replicas = ReplicaManager::new(
        ReplicaSettings::new(id, &config, &metrics),
        logs.clone(),
        zookeeper.clone(),
        metadata.subscribe(),
        halt(&parts.failure),
        clock.clone(),
    )?;
    replicas.show_in(&metrics);
    if let Some(logs) = &mut parts.logs {
        let cleaner = logs.manager.start_cleaner(&logs.shutdown.stop());
        logs.chores.extend(cleaner);
    }
    if let Some(cleaner) = logs.cleaner() {
        cleaner.show_in(&metrics);
    }
    let shutdown = Shutdown::new();
    let tasks = replicas.start(shutdown.stop());
    parts.replicas = Some(Replicas {
        manager: replicas.clone(),
        shutdown,
        tasks,
    });

    let coordinator = Coordinator::start(
        id,
        CoordinatorSettings::from(&*config),
        replicas.clone(),
        zookeeper.clone(),
        &metrics,
        clock.clone(),
    );
    let groups = coordinator.handle();
    parts.coordinator = Some(coordinator);

    let controller = start_controller(&config, id, &zookeeper, &metrics, &clock);
    let handle = controller.handle();
    parts.controller = Some(controller);

    let quotas = Arc::new(quotas(&config, &zookeeper, &metrics, &clock).await?);
    let (membership, known) = watch::channel(Membership::Former);
    let services = Arc::new(Services {
        id,
        membership: known,
        config: config.clone(),
        metadata,
        replicas,
        coordinator: groups,
        quotas: quotas.clone(),
        zookeeper: zookeeper.clone(),
        controller: handle,
        metrics: metrics.clone(),
        clock: clock.clone(),
    });
    let dispatch = Arc::new(Dispatch::new(services.clone()));
    let shutdown = Shutdown::new();
    let tasks = listeners
        .into_iter()
        .map(|l| l.serve(dispatch.clone(), shutdown.stop()))
        .collect();
    parts.listeners = Some(Listeners { shutdown, tasks });
    parts.enter(State::Running);

    let defaults = config.log.clone();
    parts.dynamic = Some(DynamicConfigManager::start(
        zookeeper.clone(),
        logs,
        defaults,
        quotas,
        clock.clone(),
    ));

    let identity = Identity {
        id,
        advertised: advertised.clone(),
        free_ports: config.listeners.iter().any(|l| l.port == 0),
        session_timeout: config.zookeeper_session_timeout,
    };
    let registration = Registration::start(identity, zookeeper.clone(), clock.clone(), membership).await?;
    parts.registration = Some(registration);

    if config.controlled_shutdown_enable {
        parts.leave = Some(leave_settings(&config, id));
    }

    let advertised = local_host::fill_in(&advertised);
    local_host::announce(&advertised);
    info!(target: TARGET, "[Kafka Server {id}], started");
    parts.afterthought = Some(tokio::spawn(name_the_controller(id, zookeeper, clock)));
    Ok((services, bound, advertised))
}

/// Only PLAINTEXT can be spoken; better to say so than to leave a port that nobody answers.
fn refuse_strange_protocols(config: &BrokerConfig) -> Result<()> {
    let mut all = config.listeners.iter().chain(&config.advertised_listeners);
    match all.find(|e| e.protocol != SecurityProtocol::Plaintext) {
        Some(strange) => Err(Error::Protocol(strange.clone())),
        None => Ok(()),
    }
}

/// A session within the chroot, which is made if need be, with the nodes that every broker expects.
async fn connect(config: &BrokerConfig, clock: &Clock) -> Result<Session> {
    let failed = |source| Error::ZooKeeper {
        connect: config.zookeeper_connect.clone(),
        source,
    };
    let settings = SessionSettings {
        session_timeout: config.zookeeper_session_timeout,
        connection_timeout: config.zookeeper_connection_timeout,
    };
    info!(target: TARGET, "Connecting to zookeeper on {}", config.zookeeper_connect);
    if Session::ensure_chroot(&config.zookeeper_connect, settings, clock.clone())
        .await
        .map_err(failed)?
    {
        info!(target: TARGET, "Created zookeeper path of {}", config.zookeeper_connect);
    }
    let session = Session::connect(&config.zookeeper_connect, settings, clock.clone())
        .await
        .map_err(failed)?;
    // All at once: on a ZooKeeper that syncs its disk, one after the other takes many times as long.
    let mut making = JoinSet::new();
    for path in paths::COMMON {
        let session = session.clone();
        making.spawn(async move { session.ensure_path(path).await });
    }
    while let Some(made) = making.join_next().await {
        let made = made.unwrap_or(Err(zookeeper::Error::Closed));
        if let Err(e) = made {
            session.close().await;
            return Err(failed(e));
        }
    }
    Ok(session)
}

/// How long to wait for room on a full disk before the logs are recovered anew.
const ROOM: Duration = Duration::from_secs(2);

/// The logs, recovered, each with its topic's settings. A full disk is waited for: nobody would have to start the
/// broker again. Settings that cannot be understood leave
/// their topic with the broker's; 0.9.0.1 does not start then.
async fn open_logs(config: &BrokerConfig, zookeeper: &Session, clock: &Clock) -> Result<Arc<LogManager>> {
    let overrides = admin::fetch_topic_configs(zookeeper)
        .await
        .map_err(Error::TopicSettings)?;
    let mut topics = HashMap::new();
    for (topic, overrides) in overrides {
        match config.log.with_overrides(&overrides) {
            Ok(settings) => {
                topics.insert(topic, settings);
            }
            Err(e) => warn!(target: TARGET, "ignoring the settings of topic {topic}: {e}"),
        }
    }
    let settings = ManagerSettings {
        recovery_threads_per_dir: config.num_recovery_threads_per_data_dir,
        retention_check: config.log_retention_check_interval,
        flush_check: config.log_flush_scheduler_interval,
        checkpoint: config.log_flush_offset_checkpoint_interval,
        cleaner: config.log_cleaner_enable.then(|| cleaner_settings(config)),
        ..ManagerSettings::default()
    };
    let (dirs, defaults, topics) = (&config.log_dirs, &config.log, Arc::new(topics));
    loop {
        let (dirs, defaults, topics) = (dirs.clone(), defaults.clone(), topics.clone());
        let (settings, time) = (settings.clone(), clock.clone());
        let open = move || LogManager::open(&dirs, defaults, &topics, settings, time);
        match blocking::on_thread(open).await {
            Err(crate::log::Error::Storage(e)) if e.is_full() => {
                warn!(target: TARGET, "there is no room to recover the logs; trying again until there is: {e}");
                clock.sleep(ROOM).await;
            }
            opened => return Ok(Arc::new(opened?)),
        }
    }
}

/// The clients' quotas, with the rates that some have of their own.
async fn quotas(
    config: &BrokerConfig,
    zookeeper: &Session,
    metrics: &Registry,
    clock: &Clock,
) -> Result<Quotas> {
    let quotas = Quotas::new(config, metrics, clock);
    let settings = admin::fetch_configs(zookeeper, EntityType::Client).await;
    for (client, settings) in settings.map_err(Error::ClientSettings)? {
        quotas.set(&client, &settings);
    }
    Ok(quotas)
}

fn cleaner_settings(config: &BrokerConfig) -> CleanerSettings {
    CleanerSettings {
        threads: config.log_cleaner_threads,
        dedupe_buffer_bytes: config.log_cleaner_dedupe_buffer_size,
        load_factor: config.log_cleaner_io_buffer_load_factor,
        io_buffer_bytes: config.log_cleaner_io_buffer_size,
        max_message_bytes: usize::try_from(config.message_max_bytes).unwrap_or(0),
        io_max_bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
        backoff: config.log_cleaner_backoff,
    }
}

fn network_settings(config: &BrokerConfig) -> NetworkSettings {
    let defaults = NetworkSettings::default();
    let or_system = |bytes: Option<usize>| bytes.map_or(-1, |b| i32::try_from(b).unwrap_or(i32::MAX));
    NetworkSettings {
        request_max_bytes: config.socket_request_max_bytes,
        send_buffer_bytes: or_system(config.socket_send_buffer_bytes),
        receive_buffer_bytes: or_system(config.socket_receive_buffer_bytes),
        max_idle: config.connections_max_idle.unwrap_or(Duration::MAX),
        max_connections_per_ip: config.max_connections_per_ip,
        max_connections_overrides: config
            .max_connections_per_ip_overrides
            .iter()
            .map(|(host, most)| (host.clone(), *most))
            .collect(),
        ..defaults
    }
}

fn bind(config: &BrokerConfig, clock: &Clock) -> Result<Vec<Listener>> {
    let settings = network_settings(config);
    let limits = Limits::new(&settings);
    let bound = |e| Listener::bind(e, settings.clone(), limits.clone(), clock.clone());
    Ok(config
        .listeners
        .iter()
        .map(bound)
        .collect::<network::Result<_>>()?)
}

fn bound_endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        port: listener.local_addr().port().into(),
        ..listener.endpoint().clone()
    }
}

/// What clients are told: as configured, with the port that was taken in place of port 0 and this
/// machine's name in place of no host.
fn advertised(config: &BrokerConfig, bound: &[Endpoint]) -> Vec<Endpoint> {
    let with_port = |e: &Endpoint| {
        let taken = bound.iter().find(|b| b.protocol == e.protocol);
        let port = match taken {
            Some(taken) if e.port == 0 => taken.port,
            _ => e.port,
        };
        Endpoint { port, ..e.clone() }
    };
    config.advertised_listeners.iter().map(with_port).collect()
}

/// What a failed disk leads to: the first failure ends the broker.
fn halt(failure: &watch::Sender<Option<String>>) -> Fatal {
    let failure = failure.clone();
    Fatal::new(move |why| {
        failure.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(why.to_owned());
            }
            is_first
        });
    })
}

/// A candidate; it stands once this broker is registered.
fn start_controller(
    config: &BrokerConfig,
    id: BrokerId,
    zookeeper: &Session,
    metrics: &Registry,
    clock: &Clock,
) -> Controller {
    let settings = ControllerSettings {
        broker_id: id,
        metrics: metrics.clone(),
        ..ControllerSettings::from(config)
    };
    Controller::start(settings, zookeeper.clone(), clock.clone())
}

fn leave_settings(config: &BrokerConfig, id: BrokerId) -> controlled_shutdown::Settings {
    controlled_shutdown::Settings {
        id,
        attempts: config.controlled_shutdown_max_retries,
        backoff: config.controlled_shutdown_retry_backoff,
        timeout: config.controller_socket_timeout,
        protocol: config.security_inter_broker_protocol,
        version: i16::from(config.inter_broker_protocol >= InterBrokerProtocol::V0_9_0),
    }
}

/// Says who is controller, a moment after the start.
async fn name_the_controller(id: BrokerId, zookeeper: Session, clock: Clock) {
    clock.sleep(AFTERTHOUGHT).await;
    let controller = zookeeper.get(paths::CONTROLLER).await.ok().flatten();
    let controller = controller.and_then(|n| znodes::controller::decode(&n.data.unwrap_or_default()).ok());
    match controller {
        Some(controller) => info!(target: TARGET, "[Kafka Server {id}], New leader is {controller}"),
        None => info!(target: TARGET, "[Kafka Server {id}], no controller is elected yet"),
    }
}
