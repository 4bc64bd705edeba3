//! What controllers and brokers say to each other: roles, copies to give up, the picture of the
//! cluster, and a broker that wants to go.

use ::log::warn;

use crate::cluster::{BrokerId, ControllerEpoch, TopicPartition};
use crate::controller::ControlledShutdownError;
use crate::protocol::ErrorCode;
use crate::protocol::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::protocol::leader_and_isr::{LeaderAndIsrRequest, PartitionError, PartitionErrorsResponse};
use crate::protocol::registration;
use crate::protocol::stop_replica::{StopReplicaPartition, StopReplicaRequest};
use crate::protocol::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use crate::replica::{self, PartitionDecision};
use crate::server::error_codes;
use crate::server::registration::Membership;
use crate::server::services::Services;

use super::Caller;

/// The answer to what was meant for a former life of this broker.
const NOT_THIS_LIFE: PartitionErrorsResponse = PartitionErrorsResponse {
    error: ErrorCode::BROKER_NOT_AVAILABLE.0,
    partitions: Vec::new(),
};

/// Whether a controller says that it means this broker as it was registered before its present life. Genuine
/// controllers do not say whom they mean. Waits while this life is being registered.
async fn is_about_a_former_life(s: &Services, who: &Caller) -> bool {
    let Some(named) = registration::named(&who.client_id) else {
        return false;
    };
    let since = Membership::since(s.membership.clone()).await;
    since.is_none_or(|since| named < since)
}

fn refuse_about_a_former_life(s: &Services, what: &str, controller: i32) {
    warn!(
        "refusing {what} of controller {controller}: it does not know yet that broker {} was started again",
        s.id
    );
}

/// Takes the roles that the controller decided. A stale controller is refused as a whole, a stale
/// decision for its partition. So is what was decided about a former life of this broker: it may have had
/// more than the present one, and is told anew once the present one is known.
pub(super) async fn leader_and_isr(
    s: &Services,
    who: &Caller,
    request: LeaderAndIsrRequest,
) -> PartitionErrorsResponse {
    let is_known = Membership::since(s.membership.clone()).await.is_some();
    if !is_known || is_about_a_former_life(s, who).await {
        refuse_about_a_former_life(s, "LeaderAndIsr", request.controller_id);
        return NOT_THIS_LIFE;
    }
    let epoch = ControllerEpoch(request.controller_epoch);
    let decisions = request.partitions.iter().map(PartitionDecision::from).collect();
    let outcomes = s.replicas.become_leader_or_follower(epoch, decisions).await;
    tell_coordinator(s, &outcomes);
    answer(outcomes, request.controller_id, "LeaderAndIsr")
}

/// Stops copying, and gives up the copies if so asked; not at a word that was meant for a former life of this broker
/// and would undo what the present one was told.
pub(super) async fn stop_replica(
    s: &Services,
    who: &Caller,
    request: StopReplicaRequest,
) -> PartitionErrorsResponse {
    if is_about_a_former_life(s, who).await {
        refuse_about_a_former_life(s, "StopReplica", request.controller_id);
        return NOT_THIS_LIFE;
    }
    let epoch = ControllerEpoch(request.controller_epoch);
    let partitions = request
        .partitions
        .iter()
        .map(|p| TopicPartition::new(p.topic.as_str(), p.partition))
        .collect();
    let outcomes = s
        .replicas
        .stop_replicas(epoch, request.delete_partitions, partitions)
        .await;
    tell_coordinator(s, &outcomes);
    answer(outcomes, request.controller_id, "StopReplica")
}

type Outcomes = replica::Result<Vec<(TopicPartition, replica::Result<()>)>>;

/// Groups move with the partitions of the offsets topic. Kafka forgets them when a copy is given up.
fn tell_coordinator(s: &Services, outcomes: &Outcomes) {
    let changed = outcomes.iter().flatten();
    s.coordinator.roles_changed(changed.map(|(at, _)| at));
}

fn answer(outcomes: Outcomes, controller: i32, request: &str) -> PartitionErrorsResponse {
    match outcomes {
        Ok(outcomes) => PartitionErrorsResponse {
            error: ErrorCode::NONE.0,
            partitions: outcomes
                .into_iter()
                .map(|(at, outcome)| PartitionError {
                    topic: at.topic.to_string(),
                    partition: at.partition,
                    error: match outcome {
                        Ok(()) => ErrorCode::NONE.0,
                        Err(e) => error_codes::of_replica(&e).0,
                    },
                })
                .collect(),
        },
        Err(e) => {
            warn!("refusing {request} of controller {controller}: {e}");
            PartitionErrorsResponse {
                error: error_codes::of_replica(&e).0,
                partitions: Vec::new(),
            }
        }
    }
}

/// Takes over the controller's picture of the cluster; not one that was meant for a former life of this broker.
///
/// Of a controller of ours an answer without an error says that the life lives of which it knows.
pub(super) async fn update_metadata(
    s: &Services,
    who: &Caller,
    request: UpdateMetadataRequest,
) -> UpdateMetadataResponse {
    if is_about_a_former_life(s, who).await {
        refuse_about_a_former_life(s, "UpdateMetadata", request.controller_id);
        return UpdateMetadataResponse {
            error: NOT_THIS_LIFE.error,
        };
    }
    let epoch = ControllerEpoch(request.controller_epoch);
    let admitted = s.replicas.admit_controller(epoch).is_ok() && s.metadata.update(&request);
    let error = if admitted {
        ErrorCode::NONE
    } else {
        warn!(
            "refusing UpdateMetadata of controller {} with epoch {epoch}: a later one has spoken",
            request.controller_id
        );
        ErrorCode::STALE_CONTROLLER_EPOCH
    };
    UpdateMetadataResponse { error: error.0 }
}

/// Moves the leaderships of a broker that wants to go, if this broker is the controller.
pub(super) async fn controlled_shutdown(
    s: &Services,
    who: &Caller,
    request: ControlledShutdownRequest,
) -> ControlledShutdownResponse {
    let outcome = s
        .controller
        .controlled_shutdown(BrokerId(request.broker_id), registration::named(&who.client_id))
        .await;
    let (error, left) = match outcome {
        Ok(left) => (ErrorCode::NONE, left),
        Err(ControlledShutdownError::NotController) => (ErrorCode::STALE_CONTROLLER_EPOCH, Vec::new()),
        Err(ControlledShutdownError::BrokerNotAvailable(_) | ControlledShutdownError::FormerLife(_)) => {
            (ErrorCode::BROKER_NOT_AVAILABLE, Vec::new())
        }
    };
    let partition = |at: TopicPartition| StopReplicaPartition {
        topic: at.topic.to_string(),
        partition: at.partition,
    };
    ControlledShutdownResponse {
        error: error.0,
        partitions: left.into_iter().map(partition).collect(),
    }
}
