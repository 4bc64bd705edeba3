//! ZooKeeper's wire records: what a client says to a ZooKeeper server and the server to a client,
//! in both directions. Pure bytes; knows no socket, no session and no tree.
//!
//! Read [`codec`] (how values lie in bytes), then [`op`] and [`error_code`] (the numbers),
//! [`records`] (one struct per request and response) and [`multi`] (several operations in one).
//!
//! Every packet is a 4-byte big-endian length and that many bytes, both ways. The first packet of a
//! connection is a [`ConnectRequest`] and is answered with a [`ConnectResponse`]; from then on a
//! request is a [`RequestHeader`] and a body by [`OpCode`], a reply is a [`ReplyHeader`] and a body
//! if its error is [`ErrorCode::OK`].

pub mod codec;
pub mod error_code;
pub mod multi;
pub mod op;
pub mod records;

pub use codec::{Error, Reader, Record, Result, frame};
pub use error_code::ErrorCode;
pub use multi::{MultiHeader, MultiOp, MultiResult, read_multi, read_multi_results, write_multi};
pub use multi::{write_multi_failure, write_multi_results};
pub use op::{AddWatchMode, CreateMode, OpCode, WatcherKind, event, perms, xid};
pub use records::*;
