//! `/controller` and `/controller_epoch`: who is controller, and the how-manieth
//! (KafkaController.parseControllerId, incrementControllerEpoch).

use super::json::{self, Json};
use super::{Error, Result, decimal};
use crate::cluster::{BrokerId, ControllerEpoch};
use crate::util::clock::WallMs;

/// The data of `/controller`.
pub fn encode(id: BrokerId, now: WallMs) -> String {
    json::object([
        ("version", "1".to_owned()),
        ("brokerid", id.to_string()),
        ("timestamp", json::text(&now.0.to_string())),
    ])
}

/// The controller's id. Data that is no JSON with one is read as a bare number, as brokers of 0.8
/// wrote it.
///
/// # Errors
/// If it is neither.
pub fn decode(data: &[u8]) -> Result<BrokerId> {
    let id = Json::parse(data).and_then(|root| root.int("brokerid"));
    match id {
        Ok(id) => Ok(BrokerId(id)),
        Err(e) => match decimal(data).map(i32::try_from) {
            Ok(Ok(id)) => Ok(BrokerId(id)),
            _ => Err(e),
        },
    }
}

/// The data of `/controller_epoch`.
pub fn encode_epoch(epoch: ControllerEpoch) -> String {
    epoch.to_string()
}

/// Reads the data of `/controller_epoch`.
///
/// # Errors
/// [`Error::NotANumber`].
pub fn decode_epoch(data: &[u8]) -> Result<ControllerEpoch> {
    let n = decimal(data)?;
    i32::try_from(n)
        .map(ControllerEpoch)
        .map_err(|_| Error::NotANumber(n.to_string()))
}
