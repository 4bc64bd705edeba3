//! The map of partitions, and how controllers change roles in it (kafka.server.ReplicaManager).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, RwLock};

use ::log::{error, info, warn};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{BrokerId, ControllerEpoch, LeaderAndIsr, LeaderEpoch, MetadataImage, TopicPartition};
use crate::config::LogConfig;
use crate::log::{self, Log, LogManager};
use crate::message::Offset;
use crate::protocol::leader_and_isr::PartitionStateInfo;
use crate::util::blocking;
use crate::util::clock::Clock;
use crate::util::shutdown::Stop;
use crate::zookeeper::Session;

use super::counts::Meters;
use super::error::{Error, Result};
use super::fetcher::Running;
use super::handover::Handovers;
use super::high_watermarks::HighWatermarks;
use super::isr_keeper::Proposals;
use super::isr_store::Store;
use super::leaving::Leaving;
use super::partition::Partition;
use super::settings::ReplicaSettings;
use super::standing::{Change, Decision, Role};
use super::term::Term;
use super::topic_meters::{Expiries, TopicMeters, TopicRates};

/// What to do when no disk is left that can be trusted: in a broker, log a FATAL line and exit with 1.
#[derive(Clone)]
pub struct Fatal(Arc<dyn Fn(&str) + Send + Sync>);

impl Fatal {
    /// `halt` gets the line to log. If it returns, the request at hand fails and the rest goes on.
    pub fn new(halt: impl Fn(&str) + Send + Sync + 'static) -> Fatal {
        Fatal(Arc::new(halt))
    }

    pub(super) fn halt(&self, why: &str) {
        (self.0)(why);
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fatal")
    }
}

/// One partition's decision with who it is about, as the controller sent it.
#[derive(Clone, Debug)]
pub struct PartitionDecision {
    /// Which.
    pub partition: TopicPartition,
    /// Leader, epochs and in-sync set.
    pub state: LeaderAndIsr,
    /// Assigned replicas.
    pub replicas: Vec<BrokerId>,
}

impl From<&PartitionStateInfo> for PartitionDecision {
    fn from(said: &PartitionStateInfo) -> Self {
        PartitionDecision {
            partition: TopicPartition::new(said.topic.as_str(), said.partition),
            state: LeaderAndIsr {
                leader: BrokerId(said.leader),
                leader_epoch: LeaderEpoch(said.leader_epoch),
                isr: said.isr.iter().copied().map(BrokerId).collect(),
                controller_epoch: ControllerEpoch(said.controller_epoch),
                zk_version: said.zk_version,
            },
            replicas: said.replicas.iter().copied().map(BrokerId).collect(),
        }
    }
}

/// By topic and number.
type Partitions = HashMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;

/// What became of a controller's word, for each partition.
pub type Outcomes = Vec<(TopicPartition, Result<()>)>;

/// See the module.
#[derive(Debug)]
pub struct ReplicaManager {
    pub(super) settings: ReplicaSettings,
    pub(super) logs: Arc<LogManager>,
    pub(super) store: Store,
    pub(super) metadata: watch::Receiver<Arc<MetadataImage>>,
    pub(super) clock: Clock,
    pub(super) fatal: Fatal,
    pub(super) proposals: Proposals,
    pub(super) handovers: Handovers,
    /// Of all topics together.
    pub(super) all_topics: Arc<TopicRates>,
    pub(super) expiries: Expiries,
    /// Counts the times when something may have begun to follow another leader.
    pub(super) roles: watch::Sender<u64>,
    pub(super) meters: Meters,
    pub(super) fetchers: Running,
    pub(super) leaving: Leaving,
    partitions: RwLock<Partitions>,
    high_watermarks: HighWatermarks,
    /// Held while roles change: one controller's word at a time.
    controller: Mutex<ControllerEpoch>,
}

impl ReplicaManager {
    /// Knows no partition until a controller speaks. Blocking: reads the high watermark checkpoints.
    ///
    /// # Errors
    /// A checkpoint that the last disk does not give.
    pub fn new(
        settings: ReplicaSettings,
        logs: Arc<LogManager>,
        zookeeper: Session,
        metadata: watch::Receiver<Arc<MetadataImage>>,
        fatal: Fatal,
        clock: Clock,
    ) -> log::Result<Arc<ReplicaManager>> {
        let store = Store::ZooKeeper(zookeeper, settings.id);
        Self::with_store(settings, logs, store, metadata, fatal, clock)
    }

    pub(super) fn with_store(
        settings: ReplicaSettings,
        logs: Arc<LogManager>,
        store: Store,
        metadata: watch::Receiver<Arc<MetadataImage>>,
        fatal: Fatal,
        clock: Clock,
    ) -> log::Result<Arc<ReplicaManager>> {
        let high_watermarks = HighWatermarks::open(&logs)?;
        for log in logs.all() {
            // Until it has a role: the cleaner must not go beyond.
            if let Some(offset) = high_watermarks.of(&log) {
                log.set_high_watermark(offset);
            }
        }
        Ok(Arc::new(ReplicaManager {
            high_watermarks,
            all_topics: Arc::new(TopicRates::of_all(&settings.metrics)),
            expiries: Expiries::new(&settings.metrics),
            meters: Meters::new(&settings.metrics),
            fetchers: Running::default(),
            settings,
            logs,
            store,
            metadata,
            clock,
            fatal,
            proposals: Proposals::default(),
            handovers: Handovers::default(),
            roles: watch::Sender::new(0),
            leaving: Leaving::default(),
            partitions: RwLock::default(),
            controller: Mutex::new(ControllerEpoch(0)),
        }))
    }

    /// Starts what goes on in the background until `stop`: copying, in-sync sets, the checkpoint. The caller
    /// joins the tasks and then calls [`shutdown`](Self::shutdown).
    pub fn start(self: &Arc<Self>, stop: Stop) -> Vec<JoinHandle<()>> {
        vec![
            tokio::spawn(self.clone().keep_fetchers(stop.clone())),
            tokio::spawn(self.clone().keep_in_sync_sets(stop.clone())),
            tokio::spawn(self.clone().keep_checkpoints(stop.clone())),
            tokio::spawn(self.clone().keep_offline(stop.clone())),
            tokio::spawn(self.clone().keep_handing_over(stop)),
        ]
    }

    /// Writes the high watermarks a last time. Blocking; before the logs are shut down.
    pub fn shutdown(&self) {
        info!("[Replica Manager on Broker {}]: Shutting down", self.settings.id);
        self.checkpoint();
        for partition in self.all() {
            partition.wake_all();
        }
        info!(
            "[Replica Manager on Broker {}]: Shut down completely",
            self.settings.id
        );
    }

    async fn keep_checkpoints(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = self.clock.sleep(self.settings.checkpoint_interval) => {}
            }
            let me = self.clone();
            blocking::on_thread(move || me.checkpoint()).await;
        }
    }

    /// Writes the high watermarks of all replicas; a directory that cannot take them is out of use.
    pub(super) fn checkpoint(&self) {
        let current = self.all().into_iter();
        let current = current
            .filter(|p| p.log().is_some())
            .map(|p| (p.id.clone(), p.high_watermark()));
        for e in self.high_watermarks.write(&self.logs, &current.collect()) {
            self.disk_failed(&format!("Error writing to highwatermark file: {e}"));
        }
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.partitions
            .read()
            .expect("a holder of the partitions panicked")
            .get(topic)?
            .get(&partition)
            .cloned()
    }

    pub(super) fn need(&self, id: &TopicPartition) -> Result<Arc<Partition>> {
        self.get(&id.topic, id.partition)
            .ok_or_else(|| Error::UnknownPartition(id.clone()))
    }

    pub(super) fn all(&self) -> Vec<Arc<Partition>> {
        let partitions = self
            .partitions
            .read()
            .expect("a holder of the partitions panicked");
        partitions.values().flat_map(|p| p.values().cloned()).collect()
    }

    fn get_or_create(&self, id: &TopicPartition) -> Arc<Partition> {
        let mut partitions = self
            .partitions
            .write()
            .expect("a holder of the partitions panicked");
        let of_topic = partitions.entry(id.topic.clone()).or_default();
        if let Some(partition) = of_topic.get(&id.partition) {
            return partition.clone();
        }
        let meters = match of_topic.values().next() {
            Some(sibling) => sibling.meters.clone(),
            None => Arc::new(TopicMeters::new(
                &id.topic,
                &self.all_topics,
                &self.settings.metrics,
            )),
        };
        let partition = Arc::new(Partition::new(id.clone(), self.settings.id, meters));
        partition.show_in(&self.settings.metrics);
        of_topic.insert(id.partition, partition.clone());
        partition
    }

    fn take_out(&self, id: &TopicPartition) -> Option<Arc<Partition>> {
        let mut partitions = self
            .partitions
            .write()
            .expect("a holder of the partitions panicked");
        let of_topic = partitions.get_mut(&id.topic)?;
        let gone = of_topic.remove(&id.partition);
        if of_topic.is_empty() {
            partitions.remove(&id.topic);
        }
        gone
    }

    /// The high watermark of a replica here.
    pub fn high_watermark(&self, id: &TopicPartition) -> Option<Offset> {
        let partition = self.get(&id.topic, id.partition)?;
        partition.log().map(|_| partition.high_watermark())
    }

    /// Notes a controller's epoch; the requests of all kinds share it.
    ///
    /// # Errors
    /// [`Error::StaleController`] if a later controller has spoken.
    pub fn admit_controller(&self, epoch: ControllerEpoch) -> Result<()> {
        let mut latest = self.controller.lock().expect("a change of roles panicked");
        admit(&mut latest, epoch)
    }

    /// The latest controller's epoch that was heard of.
    pub(super) fn controller_epoch(&self) -> ControllerEpoch {
        *self.controller.lock().expect("a change of roles panicked")
    }

    /// Takes the roles that a controller decided (LeaderAndIsr), each partition on its own.
    ///
    /// # Errors
    /// [`Error::StaleController`] for all; per partition [`Error::StaleLeader`],
    /// [`Error::NotInReplicas`], or what kept the log from being made.
    pub async fn become_leader_or_follower(
        self: &Arc<Self>,
        epoch: ControllerEpoch,
        decisions: Vec<PartitionDecision>,
    ) -> Result<Outcomes> {
        let configs = self.configs_of_new(&decisions).await;
        let me = self.clone();
        blocking::on_thread(move || me.change_roles(epoch, decisions, &configs)).await
    }

    /// Settings of those topics of which a log will have to be made.
    async fn configs_of_new(&self, decisions: &[PartitionDecision]) -> HashMap<Arc<str>, Result<LogConfig>> {
        let new = decisions
            .iter()
            .map(|d| &d.partition)
            .filter(|p| self.logs.get(p).is_none());
        let topics: BTreeSet<Arc<str>> = new.map(|p| p.topic.clone()).collect();
        let mut configs = HashMap::new();
        for topic in topics {
            let config = self.store.topic_config(&topic, &self.settings.log_defaults).await;
            configs.insert(topic, config);
        }
        configs
    }

    fn change_roles(
        &self,
        epoch: ControllerEpoch,
        decisions: Vec<PartitionDecision>,
        configs: &HashMap<Arc<str>, Result<LogConfig>>,
    ) -> Result<Outcomes> {
        let mut latest = self.controller.lock().expect("a change of roles panicked");
        admit(&mut latest, epoch)?;
        let mut outcomes = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let id = decision.partition.clone();
            let outcome = self.change_role(decision, configs);
            match &outcome {
                Ok(()) => {}
                Err(e) if e.is_storage() => {
                    self.disk_failed(&format!(
                        "Disk error while becoming leader or follower of partition {id}: {e}"
                    ));
                }
                Err(e) => warn!(
                    "Broker {} ignores the decision about partition {id}: {e}",
                    self.settings.id
                ),
            }
            outcomes.push((id, outcome));
        }
        self.roles.send_modify(|n| *n += 1);
        Ok(outcomes)
    }

    fn change_role(
        &self,
        decision: PartitionDecision,
        configs: &HashMap<Arc<str>, Result<LogConfig>>,
    ) -> Result<()> {
        let PartitionDecision {
            partition: id,
            state,
            replicas,
        } = decision;
        let decision = Decision { state, replicas };
        // Made even when the decision is refused: a produce then says that the leader is elsewhere.
        let partition = self.get_or_create(&id);
        partition.admits(&decision)?;
        // Only a partition made just now may have its log made while a directory is offline.
        let is_new = decision.state.leader_epoch == LeaderEpoch(0);
        let (me, leader) = (self.settings.id, decision.state.leader);
        let (log, checkpoint) = self.log_of(&partition, is_new, configs).inspect_err(|e| {
            if leader == me && matches!(e, Error::Log(log::Error::Offline { .. })) {
                self.handovers.push(id.clone());
            }
        })?;
        let epoch = decision.state.leader_epoch;
        let led = partition.role() == Role::Leader;
        match partition.take(log, &decision, checkpoint, self.clock.now())? {
            Change::Leads(missing) => {
                info!(target: "state.change.logger", "Broker {me} leads partition {id} from epoch {epoch} on");
                if missing > 0 {
                    warn!(
                        "Broker {me} leads partition {id} from epoch {epoch} on without {missing} messages, or more, that were committed: they are lost unless a replica that has them leads again"
                    );
                }
            }
            Change::Follows => {
                info!(target: "state.change.logger", "Broker {me} follows broker {leader} in partition {id} from epoch {epoch} on");
                if led && self.is_leaving() {
                    partition.stop_following();
                }
            }
            Change::StillLeads | Change::StillFollows => {}
        }
        Ok(())
    }

    /// The partition's log, made if need be, and the high watermark that it begins with if it is new here.
    fn log_of(
        &self,
        partition: &Partition,
        is_new: bool,
        configs: &HashMap<Arc<str>, Result<LogConfig>>,
    ) -> Result<(Arc<Log>, Option<Offset>)> {
        if let Some(log) = partition.log() {
            log.check_directory()?;
            return Ok((log, None));
        }
        let id = &partition.id;
        let log = match self.logs.find(id, is_new)? {
            Some(log) => log,
            None => {
                let config = match configs.get(&id.topic) {
                    Some(Ok(config)) => config.clone(),
                    Some(Err(e)) => {
                        return Err(Error::TopicConfig {
                            topic: id.topic.to_string(),
                            reason: e.to_string(),
                        });
                    }
                    // Deleted since the settings were read: those of the broker will do.
                    None => self.settings.log_defaults.clone(),
                };
                self.logs.get_or_create(id, config)?
            }
        };
        let checkpoint = self.high_watermarks.of(&log).unwrap_or_else(|| {
            info!("No checkpointed highwatermark is found for partition {id}");
            0
        });
        Ok((log, Some(checkpoint)))
    }

    /// Stops copying these partitions, and with `delete` forgets them and deletes their logs
    /// (StopReplica).
    ///
    /// # Errors
    /// [`Error::StaleController`] for all; per partition what kept a log from being deleted.
    pub async fn stop_replicas(
        self: &Arc<Self>,
        epoch: ControllerEpoch,
        delete: bool,
        partitions: Vec<TopicPartition>,
    ) -> Result<Outcomes> {
        let me = self.clone();
        blocking::on_thread(move || me.stop_all(epoch, delete, partitions)).await
    }

    fn stop_all(
        &self,
        epoch: ControllerEpoch,
        delete: bool,
        partitions: Vec<TopicPartition>,
    ) -> Result<Outcomes> {
        let mut latest = self.controller.lock().expect("a change of roles panicked");
        admit(&mut latest, epoch)?;
        let stopped = partitions.into_iter().map(|id| {
            let outcome = self.stop_one(&id, delete);
            (id, outcome)
        });
        let stopped = stopped.collect();
        self.roles.send_modify(|n| *n += 1);
        Ok(stopped)
    }

    fn stop_one(&self, id: &TopicPartition, delete: bool) -> Result<()> {
        if !delete {
            if let Some(partition) = self.get(&id.topic, id.partition) {
                partition.stop_following();
            }
            return Ok(());
        }
        if let Some(partition) = self.take_out(id) {
            partition.resign();
            partition.show_no_more();
        }
        match self.logs.delete(id) {
            Ok(()) => Ok(()),
            Err(e @ log::Error::Storage(_)) => {
                self.disk_failed(&format!("Error deleting the log for partition {id}: {e}"));
                Err(e.into())
            }
            Err(e) => {
                error!("The log of partition {id} cannot be deleted: {e}");
                Err(e.into())
            }
        }
    }

    /// Whether this broker leads a partition.
    pub fn leads(&self, id: &TopicPartition) -> bool {
        self.get(&id.topic, id.partition)
            .is_some_and(|p| p.role() == Role::Leader)
    }

    /// What this broker knows of the cluster, and will.
    pub fn metadata(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.metadata.clone()
    }

    /// Since when this broker leads a partition; `None` if it does not.
    pub fn term(&self, id: &TopicPartition) -> Option<Term> {
        self.get(&id.topic, id.partition)?.term()
    }

    /// The log of a partition that this broker leads, for those who read all of it.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::NotLeader`]
    pub fn led_log(&self, id: &TopicPartition) -> Result<Arc<Log>> {
        self.need(id)?.led_log()
    }
}

fn admit(latest: &mut ControllerEpoch, request: ControllerEpoch) -> Result<()> {
    if request < *latest {
        return Err(Error::StaleController {
            request,
            latest: *latest,
        });
    }
    *latest = request;
    Ok(())
}
