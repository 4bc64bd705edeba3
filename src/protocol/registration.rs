//! Which life of a broker a request is about: the client id says it where brokers and controllers talk.
//!
//! The requests of 0.9.0.1 cannot tell a broker's lives apart, and a network, or a process that stands still, may hold
//! one until the broker has been started again. So the transaction that created a registration in ZooKeeper stands in
//! the client id: the sender's own registration in a ControlledShutdown, the receiver's in what a controller sends.
//! 0.9.0.1 sends the sender's id alone, and reads nothing from it.

/// Between the sender's id and the registration.
const REGISTERED: &str = "-registered-";

/// The client id of the broker `sender` that names the registration made by the transaction `czxid`.
pub fn client_id(sender: i32, czxid: i64) -> String {
    format!("{sender}{REGISTERED}{czxid:x}")
}

/// The registration that such a client id names; `None` of genuine brokers.
pub fn named(client_id: &str) -> Option<i64> {
    let (_, czxid) = client_id.split_once(REGISTERED)?;
    i64::from_str_radix(czxid, 16).ok()
}
