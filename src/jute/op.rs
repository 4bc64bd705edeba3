//! The numbers of the protocol: operations, create modes, watch modes, special xids, event types and
//! permission bits.

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum OpCode {
    /// Make a node.
    Create = 1,
    /// Remove a node without children.
    Delete = 2,
    /// The stat of a node, or a watch for one that is to come.
    Exists = 3,
    /// Data and stat.
    GetData = 4,
    /// New data.
    SetData = 5,
    /// ACL and stat.
    GetAcl = 6,
    /// New ACL.
    SetAcl = 7,
    /// Names of children.
    GetChildren = 8,
    /// Wait until all that was asked before is applied.
    Sync = 9,
    /// Keep the session alive.
    Ping = 11,
    /// Names of children and the stat.
    GetChildren2 = 12,
    /// Check a version; inside a multi.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// As create, the answer with a stat (3.5).
    Create2 = 15,
    /// Change the ensemble (3.5).
    Reconfig = 16,
    /// Is such a watch there (3.5)?
    CheckWatches = 17,
    /// Remove a watch (3.5).
    RemoveWatches = 18,
    /// Make a container (3.5).
    CreateContainer = 19,
    /// Remove an empty container; the server's own (3.5).
    DeleteContainer = 20,
    /// Make a node that goes when it is not used (3.5).
    CreateTtl = 21,
    /// Several reads (3.6).
    MultiRead = 22,
    /// Add an identity to the connection.
    Auth = 100,
    /// Register watches again after a reconnect.
    SetWatches = 101,
    /// SASL exchange.
    Sasl = 102,
    /// Own ephemeral nodes (3.6).
    GetEphemerals = 103,
    /// Count of all descendants (3.6).
    GetAllChildrenNumber = 104,
    /// As SetWatches, with persistent ones (3.6).
    SetWatches2 = 105,
    /// Persistent watch (3.6).
    AddWatch = 106,
    /// The identities of the connection (3.7).
    WhoAmI = 107,
    /// A new session; in the transaction log alone.
    CreateSession = -10,
    /// The end of a session.
    CloseSession = -11,
    /// A write that failed; in the transaction log alone.
    Error = -1,
}

impl OpCode {
    /// The operation of that number.
    pub fn from_i32(code: i32) -> Option<OpCode> {
        use OpCode::*;
        const ALL: [OpCode; 32] = [
            Create,
            Delete,
            Exists,
            GetData,
            SetData,
            GetAcl,
            SetAcl,
            GetChildren,
            Sync,
            Ping,
            GetChildren2,
            Check,
            Multi,
            Create2,
            Reconfig,
            CheckWatches,
            RemoveWatches,
            CreateContainer,
            DeleteContainer,
            CreateTtl,
            MultiRead,
            Auth,
            SetWatches,
            Sasl,
            GetEphemerals,
            GetAllChildrenNumber,
            SetWatches2,
            AddWatch,
            WhoAmI,
            CreateSession,
            CloseSession,
            Error,
        ];
        ALL.into_iter().find(|op| *op as i32 == code)
    }

    /// Its number.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// What kind of node to make: the flags of a create request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CreateMode {
    /// Stays until deleted.
    Persistent = 0,
    /// Goes with its session.
    Ephemeral = 1,
    /// Stays; its name gets a number.
    PersistentSequential = 2,
    /// Goes with its session; its name gets a number.
    EphemeralSequential = 3,
    /// Goes some time after its last child (3.5).
    Container = 4,
    /// Goes when it was not changed for its time to live (3.5).
    PersistentWithTtl = 5,
    /// The same with a number (3.5).
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// The mode with these flags.
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        use CreateMode::*;
        Some(match flags {
            0 => Persistent,
            1 => Ephemeral,
            2 => PersistentSequential,
            3 => EphemeralSequential,
            4 => Container,
            5 => PersistentWithTtl,
            6 => PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// Its flags.
    pub fn flags(self) -> i32 {
        self as i32
    }

    /// Whether it goes with its session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether its name gets a number.
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Whether it needs a time to live.
    pub fn is_ttl(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl
        )
    }
}

/// The two kinds of persistent watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum AddWatchMode {
    /// One node: its data, its being, its children.
    Persistent = 0,
    /// A node and all below it; no events about lists of children.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The mode of that number.
    pub fn from_i32(mode: i32) -> Option<AddWatchMode> {
        match mode {
            0 => Some(AddWatchMode::Persistent),
            1 => Some(AddWatchMode::PersistentRecursive),
            _ => None,
        }
    }
}

/// Which watches of a path to check for or to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum WatcherKind {
    /// Those on lists of children.
    Children = 1,
    /// Those on data and being.
    Data = 2,
    /// All.
    Any = 3,
}

impl WatcherKind {
    /// The kind of that number.
    pub fn from_i32(kind: i32) -> Option<WatcherKind> {
        match kind {
            1 => Some(WatcherKind::Children),
            2 => Some(WatcherKind::Data),
            3 => Some(WatcherKind::Any),
            _ => None,
        }
    }
}

/// The xids with a meaning of their own.
pub mod xid {
    /// A watch event.
    pub const EVENT: i32 = -1;
    /// A ping and its answer.
    pub const PING: i32 = -2;
    /// An auth packet of the Java client.
    pub const AUTH: i32 = -4;
    /// A setWatches of the Java client.
    pub const SET_WATCHES: i32 = -8;
}

/// The types of a watch event, and the only state a server sends.
pub mod event {
    /// No change of a node: a change of the connection. Made by clients.
    pub const NONE: i32 = -1;
    /// The node was made.
    pub const NODE_CREATED: i32 = 1;
    /// The node was removed.
    pub const NODE_DELETED: i32 = 2;
    /// The data was set.
    pub const NODE_DATA_CHANGED: i32 = 3;
    /// A child was made or removed.
    pub const NODE_CHILDREN_CHANGED: i32 = 4;
    /// The state of a client that is connected.
    pub const SYNC_CONNECTED: i32 = 3;
}

/// The permission bits of an ACL entry.
pub mod perms {
    /// Data and children may be read.
    pub const READ: i32 = 1;
    /// Data may be set.
    pub const WRITE: i32 = 2;
    /// Children may be made.
    pub const CREATE: i32 = 4;
    /// Children may be deleted.
    pub const DELETE: i32 = 8;
    /// The ACL may be set.
    pub const ADMIN: i32 = 16;
    /// All of these.
    pub const ALL: i32 = 31;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_map_to_operations_and_back() {
        for code in -20..200 {
            if let Some(op) = OpCode::from_i32(code) {
                assert_eq!(op.code(), code);
            }
        }
        assert_eq!(OpCode::from_i32(13), Some(OpCode::Check));
        assert_eq!(OpCode::from_i32(10), None);
    }
}
