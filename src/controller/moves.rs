//! The acting controller's part in moving partitions: reads what is wished and how far leaders are, and carries out stage after
//! stage. Decides nothing itself.

use std::collections::BTreeSet;

use ::log::error;

use super::channels::Channels;
use super::context::CONTROLLER;
use super::decide::reassign;
use super::error::Result;
use super::event::Event;
use super::reign::Reign;
use super::store::data;
use crate::cluster::TopicPartition;
use crate::zookeeper::{each, paths, znodes};

impl Reign {
    pub(super) async fn reassignment_wished(&mut self, channels: &Channels) -> Result<()> {
        let path = paths::REASSIGN_PARTITIONS;
        let (node, watch) = self.store.session.get_watched(path).await?;
        self.watches.add(watch, Event::ReassignmentWish);
        let Some(node) = node else { return Ok(()) };
        let wished = match znodes::admin::decode_reassignment(data(&node)) {
            Ok(wished) => wished,
            Err(e) => {
                error!(target: CONTROLLER, "{path} cannot be read and is left as it is: {e}");
                return Ok(());
            }
        };
        let known: BTreeSet<TopicPartition> = self.context.reassignments.keys().cloned().collect();
        let plan = reassign::requested(&mut self.context, wished);
        self.carry_out(plan, channels).await?;
        let new: Vec<TopicPartition> = self
            .context
            .reassignments
            .keys()
            .filter(|at| !known.contains(*at))
            .cloned()
            .collect();
        self.moving_partitions_changed(new).await
    }

    /// Watches the states of partitions on the move, and takes them in.
    pub(super) async fn moving_partitions_changed(&mut self, mut changed: Vec<TopicPartition>) -> Result<()> {
        changed.retain(|at| self.context.reassignments.contains_key(at));
        let session = self.store.session.clone();
        let read = each(changed, move |at| {
            let session = session.clone();
            async move {
                let path = paths::partition_state(&at.topic, at.partition);
                (at, session.get_watched(&path).await)
            }
        });
        for (at, read) in read.await {
            let (node, watch) = read?;
            self.watches.add(watch, Event::PartitionState(at.clone()));
            let Some(node) = node else { continue };
            match znodes::leader_and_isr::decode(data(&node), node.stat.version) {
                Ok(state) => {
                    if let Some(partition) = self.context.partition_mut(&at) {
                        partition.leadership = Some(state);
                    }
                }
                Err(e) => error!(target: CONTROLLER, "the state of partition {at} cannot be read: {e}"),
            }
        }
        Ok(())
    }

    /// Takes every reassignment as far as it goes, all of them a stage at a time.
    pub(super) async fn move_partitions(&mut self, channels: &Channels) -> Result<()> {
        let mut reached = reassign::Reached::default();
        while let Some(plan) = reassign::advance_all(&mut self.context, &mut reached) {
            self.carry_out(plan, channels).await?;
        }
        Ok(())
    }
}
