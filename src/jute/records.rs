//! One struct per request, response and part of them, with ZooKeeper's field order.

use bytes::{Bytes, BytesMut};

use super::codec::{Reader, Record, Result};
use super::error_code::ErrorCode;
use super::op::perms;

macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

        impl Record for $name {
            fn read(r: &mut Reader) -> Result<$name> {
                Ok($name { $($field: Record::read(r)?,)* })
            }
            fn write(&self, out: &mut BytesMut) {
                $(self.$field.write(out);)*
            }
        }
    };
}

/// The first packet of a client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnectRequest {
    /// Zero.
    pub protocol_version: i32,
    /// The newest zxid that the client has seen; a server that is behind closes the connection.
    pub last_zxid_seen: i64,
    /// The session timeout asked for, in milliseconds.
    pub timeout_ms: i32,
    /// The session to go on with; zero for a new one.
    pub session_id: i64,
    /// The session's password.
    pub password: Option<Bytes>,
    /// Whether a read-only server will do; `None` from clients before 3.4, which lack the byte.
    pub read_only: Option<bool>,
}

impl Record for ConnectRequest {
    fn read(r: &mut Reader) -> Result<ConnectRequest> {
        Ok(ConnectRequest {
            protocol_version: r.i32()?,
            last_zxid_seen: r.i64()?,
            timeout_ms: r.i32()?,
            session_id: r.i64()?,
            password: r.nullable_bytes()?,
            read_only: trailing_bool(r)?,
        })
    }
    fn write(&self, out: &mut BytesMut) {
        self.protocol_version.write(out);
        self.last_zxid_seen.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        if let Some(read_only) = self.read_only {
            read_only.write(out);
        }
    }
}

/// The first packet of a server.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnectResponse {
    /// Zero.
    pub protocol_version: i32,
    /// The session timeout granted, in milliseconds; zero or less: the session is over.
    pub timeout_ms: i32,
    /// The session; zero: the session asked for is over.
    pub session_id: i64,
    /// The session's password, 16 bytes.
    pub password: Option<Bytes>,
    /// Whether the server is read-only; present only if the request had the byte.
    pub read_only: Option<bool>,
}

impl Record for ConnectResponse {
    fn read(r: &mut Reader) -> Result<ConnectResponse> {
        Ok(ConnectResponse {
            protocol_version: r.i32()?,
            timeout_ms: r.i32()?,
            session_id: r.i64()?,
            password: r.nullable_bytes()?,
            read_only: trailing_bool(r)?,
        })
    }
    fn write(&self, out: &mut BytesMut) {
        self.protocol_version.write(out);
        self.timeout_ms.write(out);
        self.session_id.write(out);
        self.password.write(out);
        if let Some(read_only) = self.read_only {
            read_only.write(out);
        }
    }
}

fn trailing_bool(r: &mut Reader) -> Result<Option<bool>> {
    if r.remaining() == 0 {
        return Ok(None);
    }
    bool::read(r).map(Some)
}

record! {
    /// What every request begins with.
    RequestHeader {
        /// The client's number of the request; negative ones have meanings, see [`super::xid`].
        xid: i32,
        /// The operation's number, see [`super::OpCode`].
        op: i32,
    }
}

record! {
    /// What every reply and every watch event begins with.
    ReplyHeader {
        /// The request's xid, or -1 for an event.
        xid: i32,
        /// The newest transaction applied when this was answered; -1 in an event.
        zxid: i64,
        /// How it went. A body follows only after [`ErrorCode::OK`].
        err: ErrorCode,
    }
}

record! {
    /// All that is known of a node but its data and ACL.
    #[derive(Copy)]
    Stat {
        /// Transaction that made the node.
        czxid: i64,
        /// Transaction that last set the data.
        mzxid: i64,
        /// When it was made, milliseconds since 1970.
        ctime: i64,
        /// When the data was last set, milliseconds since 1970.
        mtime: i64,
        /// How often the data was set.
        version: i32,
        /// How often a child was made or removed.
        cversion: i32,
        /// How often the ACL was set.
        aversion: i32,
        /// The session that the node goes with; zero if it stays.
        ephemeral_owner: i64,
        /// Bytes of data; zero for null too.
        data_length: i32,
        /// Count of children.
        num_children: i32,
        /// Transaction that last made or removed a child.
        pzxid: i64,
    }
}

record! {
    /// An identity.
    #[derive(Hash, PartialOrd, Ord)]
    Id {
        /// Who vouches for it: `world`, `digest`, `ip`, `sasl`, `auth`.
        scheme: String,
        /// The identity by the rules of the scheme.
        id: String,
    }
}

record! {
    /// One entry of an ACL.
    #[derive(Hash, PartialOrd, Ord)]
    Acl {
        /// Bits of [`super::perms`].
        perms: i32,
        /// For whom.
        id: Id,
    }
}

impl Acl {
    /// Everything, for everyone.
    pub fn open() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, "world", "anyone")]
    }

    /// An entry from its parts.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl {
            perms,
            id: Id {
                scheme: scheme.to_owned(),
                id: id.to_owned(),
            },
        }
    }
}

record! {
    /// A watch fired.
    WatcherEvent {
        /// One of [`super::event`].
        kind: i32,
        /// Always [`super::event::SYNC_CONNECTED`] from a server.
        state: i32,
        /// The node.
        path: String,
    }
}

record! {
    /// Body of create, create2 and createContainer.
    CreateRequest {
        /// The node, or for sequential modes the front of its name.
        path: String,
        /// Null and empty are different.
        data: Option<Bytes>,
        /// Who may do what.
        acl: Vec<Acl>,
        /// See [`super::CreateMode`].
        flags: i32,
    }
}

record! {
    /// Body of createTTL.
    CreateTtlRequest {
        /// As in [`CreateRequest`].
        path: String,
        /// As in [`CreateRequest`].
        data: Option<Bytes>,
        /// As in [`CreateRequest`].
        acl: Vec<Acl>,
        /// See [`super::CreateMode`].
        flags: i32,
        /// Milliseconds without a change after which the node goes.
        ttl_ms: i64,
    }
}

record! {
    /// Body of delete.
    DeleteRequest {
        /// The node.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// Body of exists, getData, getChildren and getChildren2.
    WatchableRequest {
        /// The node.
        path: String,
        /// Whether to send one event at the next change.
        watch: bool,
    }
}

record! {
    /// Body of setData.
    SetDataRequest {
        /// The node.
        path: String,
        /// Null and empty are different.
        data: Option<Bytes>,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// Body of setACL.
    SetAclRequest {
        /// The node.
        path: String,
        /// The new ACL.
        acl: Vec<Acl>,
        /// The ACL version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// Body of getACL, sync, getEphemerals and getAllChildrenNumber; answer of create and sync.
    PathRecord {
        /// The node.
        path: String,
    }
}

record! {
    /// Body of check.
    CheckRequest {
        /// The node.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// Body of auth.
    AuthRequest {
        /// Zero.
        kind: i32,
        /// Who vouches.
        scheme: String,
        /// What the scheme wants, such as `user:password`.
        auth: Option<Bytes>,
    }
}

record! {
    /// Body of setWatches.
    SetWatchesRequest {
        /// The newest zxid that the client has seen; changes after it fire at once.
        relative_zxid: i64,
        /// Nodes watched by getData or an exists that found one.
        data: Vec<String>,
        /// Nodes watched by an exists that found none.
        exist: Vec<String>,
        /// Nodes watched by getChildren.
        child: Vec<String>,
    }
}

record! {
    /// Body of setWatches2.
    SetWatches2Request {
        /// As in [`SetWatchesRequest`].
        relative_zxid: i64,
        /// As in [`SetWatchesRequest`].
        data: Vec<String>,
        /// As in [`SetWatchesRequest`].
        exist: Vec<String>,
        /// As in [`SetWatchesRequest`].
        child: Vec<String>,
        /// Nodes with a persistent watch.
        persistent: Vec<String>,
        /// Nodes with a persistent recursive watch.
        recursive: Vec<String>,
    }
}

record! {
    /// Body of sasl, and its answer.
    SaslToken {
        /// The mechanism's bytes.
        token: Option<Bytes>,
    }
}

record! {
    /// Body of checkWatches and removeWatches.
    WatchesRequest {
        /// The node.
        path: String,
        /// See [`super::WatcherKind`].
        kind: i32,
    }
}

record! {
    /// Body of addWatch.
    AddWatchRequest {
        /// The node.
        path: String,
        /// See [`super::AddWatchMode`].
        mode: i32,
    }
}

record! {
    /// Answer of create2, createContainer and createTTL.
    Create2Response {
        /// The node's full name.
        path: String,
        /// Its stat.
        stat: Stat,
    }
}

record! {
    /// Answer of getData.
    GetDataResponse {
        /// Null and empty are different.
        data: Option<Bytes>,
        /// The stat.
        stat: Stat,
    }
}

record! {
    /// Answer of getACL.
    GetAclResponse {
        /// The ACL.
        acl: Vec<Acl>,
        /// The stat.
        stat: Stat,
    }
}

record! {
    /// Answer of getChildren; also that of getEphemerals, with full paths.
    ChildrenResponse {
        /// Names, in no order.
        children: Vec<String>,
    }
}

record! {
    /// Answer of getChildren2.
    Children2Response {
        /// Names, in no order.
        children: Vec<String>,
        /// The stat of the parent.
        stat: Stat,
    }
}

record! {
    /// One identity in the answer of whoAmI.
    ClientInfo {
        /// The scheme.
        scheme: String,
        /// The identity without its secret part.
        user: String,
    }
}

record! {
    /// Answer of whoAmI.
    WhoAmIResponse {
        /// All identities of the connection.
        infos: Vec<ClientInfo>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_takes_68_bytes() {
        assert_eq!(Stat::default().to_bytes().len(), 68);
    }

    #[test]
    fn a_connect_request_without_the_read_only_byte_is_an_old_clients() {
        let request = ConnectRequest {
            timeout_ms: 6000,
            password: Some(Bytes::from_static(&[0; 16])),
            read_only: Some(false),
            ..ConnectRequest::default()
        };
        let bytes = request.to_bytes();
        assert_eq!(bytes.len(), 45);
        assert_eq!(ConnectRequest::parse(bytes.clone()).unwrap(), request);
        let old = ConnectRequest::parse(bytes.slice(..44)).unwrap();
        assert_eq!(old.read_only, None);
    }

    #[test]
    fn records_read_back_as_written() {
        let request = CreateRequest {
            path: "/a".into(),
            data: None,
            acl: Acl::open(),
            flags: 3,
        };
        assert_eq!(CreateRequest::parse(request.to_bytes()).unwrap(), request);
    }

    #[test]
    fn a_cut_record_is_an_error() {
        let bytes = Stat::default().to_bytes();
        for n in 0..bytes.len() {
            assert!(Stat::parse(bytes.slice(..n)).is_err());
        }
    }
}
