//! Brokers that ask the acting controller to let them go. Decides nothing itself.

use tokio::sync::oneshot;

use super::aim::Aim;
use super::channels::Channels;
use super::decide::brokers;
use super::error::Result;
use super::event::ShutdownReply;
use super::plan::Plan;
use super::reign::Reign;
use crate::cluster::{BrokerId, TopicPartition};

impl Reign {
    /// Lets the broker go; it is answered by [`answer_leaving`](Self::answer_leaving), or now if it may not go.
    pub(super) async fn broker_leaves(
        &mut self,
        id: BrokerId,
        registration: Option<i64>,
        reply: oneshot::Sender<ShutdownReply>,
        channels: &Channels,
    ) -> Result<()> {
        self.read_again(brokers::shared_with(&self.context, &[id]))
            .await?;
        match brokers::leaves(&mut self.context, id, registration) {
            Ok(plan) => {
                self.carry_out(plan, channels).await?;
                self.leaving.push((id, reply));
            }
            // A broker that no longer waits has closed its connection.
            Err(e) => drop(reply.send(Err(e))),
        }
        Ok(())
    }

    /// Before brokers are let go that had to wait: who is in sync may have changed meanwhile.
    pub(super) async fn read_before_leaving(&mut self, plan: &Plan) -> Result<()> {
        let leaves = plan.aims.iter().filter(|(_, aim)| matches!(aim, Aim::Leave(_)));
        let partitions: Vec<TopicPartition> = leaves.map(|(at, _)| at.clone()).collect();
        match partitions.is_empty() {
            true => Ok(()),
            false => self.read_again(partitions).await,
        }
    }

    /// Answers brokers that want to go, once what they wish does not wait for others any more.
    pub(super) fn answer_leaving(&mut self) {
        for (id, reply) in std::mem::take(&mut self.leaving) {
            if brokers::waits_to_go(&self.context, id) {
                self.leaving.push((id, reply));
            } else {
                // Its leaderships moved also if it no longer waits.
                let _ = reply.send(Ok(brokers::still_led(&self.context, id)));
            }
        }
    }
}
