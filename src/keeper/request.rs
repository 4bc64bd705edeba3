//! What a client asks, read from its packet. Pure; decides nothing.

use bytes::Bytes;

use crate::jute::{
    self, AddWatchRequest, AuthRequest, CheckRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
    MultiOp, OpCode, PathRecord, Reader, Record, RequestHeader, SaslToken, SetAclRequest, SetDataRequest,
    SetWatches2Request, SetWatchesRequest, WatchableRequest, WatchesRequest,
};

/// A request: first those that change something, each of which is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// create, create2 and createContainer; the operation says what the answer holds.
    Create(OpCode, CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    SetAcl(SetAclRequest),
    Multi(Vec<MultiOp>),
    Reconfig,
    CloseSession,
    /// A body that could not be read.
    Malformed(OpCode),

    Exists(WatchableRequest),
    GetData(WatchableRequest),
    GetAcl(PathRecord),
    GetChildren(WatchableRequest),
    GetChildren2(WatchableRequest),
    Sync(PathRecord),
    Ping,
    Check(CheckRequest),
    MultiRead(Vec<MultiOp>),
    /// setWatches too, with no persistent ones.
    SetWatches(SetWatches2Request),
    CheckWatches(WatchesRequest),
    RemoveWatches(WatchesRequest),
    AddWatch(AddWatchRequest),
    GetEphemerals(PathRecord),
    CountDescendants(PathRecord),
    WhoAmI,

    Auth(AuthRequest),
    Sasl,
    /// An operation that does not exist.
    Unknown,
}

impl Request {
    /// Reads header and body.
    ///
    /// # Errors
    /// Only for the header. A body that cannot be read is [`Request::Malformed`].
    pub(super) fn parse(packet: Bytes) -> jute::Result<(RequestHeader, Request)> {
        let mut r = Reader::new(packet);
        let header = RequestHeader::read(&mut r)?;
        let request = match OpCode::from_i32(header.op) {
            Some(op) => Request::body(op, &mut r).unwrap_or(Request::Malformed(op)),
            None => Request::Unknown,
        };
        Ok((header, request))
    }

    fn body(op: OpCode, r: &mut Reader) -> jute::Result<Request> {
        Ok(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer => {
                Request::Create(op, Record::read(r)?)
            }
            OpCode::CreateTtl => Request::CreateTtl(Record::read(r)?),
            OpCode::Delete => Request::Delete(Record::read(r)?),
            OpCode::SetData => Request::SetData(Record::read(r)?),
            OpCode::SetAcl => Request::SetAcl(Record::read(r)?),
            OpCode::Multi => Request::Multi(parts(r, false)?),
            OpCode::MultiRead => Request::MultiRead(parts(r, true)?),
            OpCode::Reconfig => Request::Reconfig,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Exists => Request::Exists(Record::read(r)?),
            OpCode::GetData => Request::GetData(Record::read(r)?),
            OpCode::GetAcl => Request::GetAcl(Record::read(r)?),
            OpCode::GetChildren => Request::GetChildren(Record::read(r)?),
            OpCode::GetChildren2 => Request::GetChildren2(Record::read(r)?),
            OpCode::Sync => Request::Sync(Record::read(r)?),
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check(Record::read(r)?),
            OpCode::SetWatches => {
                let old = SetWatchesRequest::read(r)?;
                Request::SetWatches(SetWatches2Request {
                    relative_zxid: old.relative_zxid,
                    data: old.data,
                    exist: old.exist,
                    child: old.child,
                    ..SetWatches2Request::default()
                })
            }
            OpCode::SetWatches2 => Request::SetWatches(Record::read(r)?),
            OpCode::CheckWatches => Request::CheckWatches(Record::read(r)?),
            OpCode::RemoveWatches => Request::RemoveWatches(Record::read(r)?),
            OpCode::AddWatch => Request::AddWatch(Record::read(r)?),
            OpCode::GetEphemerals => Request::GetEphemerals(Record::read(r)?),
            OpCode::GetAllChildrenNumber => Request::CountDescendants(Record::read(r)?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::Auth => Request::Auth(Record::read(r)?),
            OpCode::Sasl => {
                SaslToken::read(r)?;
                Request::Sasl
            }
            // The server's own, never a client's.
            OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Error => Request::Unknown,
        })
    }

    /// Whether it goes through the log: it changes something, or takes a number as if it did.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Request::Create(..)
            | Request::CreateTtl(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Multi(_)
            | Request::Reconfig
            | Request::CloseSession => true,
            Request::Malformed(op) => matches!(
                op,
                OpCode::Create
                    | OpCode::Create2
                    | OpCode::CreateContainer
                    | OpCode::CreateTtl
                    | OpCode::Delete
                    | OpCode::SetData
                    | OpCode::SetAcl
                    | OpCode::Multi
            ),
            _ => false,
        }
    }

    /// Whether its answer may be long.
    pub(super) fn is_bulky(&self) -> bool {
        matches!(
            self,
            Request::GetData(_)
                | Request::GetChildren(_)
                | Request::GetChildren2(_)
                | Request::MultiRead(_)
                | Request::GetEphemerals(_)
        )
    }

    /// ZooKeeper's short name of the operation, as `cons` shows it.
    pub(super) fn short_name(&self) -> &'static str {
        match self {
            Request::Create(..) | Request::CreateTtl(_) => "CREA",
            Request::Delete(_) => "DELE",
            Request::SetData(_) => "SETD",
            Request::SetAcl(_) => "SETA",
            Request::Multi(_) | Request::MultiRead(_) => "MULT",
            Request::CloseSession => "CLOS",
            Request::Exists(_) => "EXIS",
            Request::GetData(_) => "GETD",
            Request::GetAcl(_) => "GETA",
            Request::GetChildren(_) | Request::GetChildren2(_) => "GETC",
            Request::Sync(_) => "SYNC",
            Request::Ping => "PING",
            Request::Check(_) => "CHEC",
            Request::SetWatches(_) => "SETW",
            _ => "NA",
        }
    }
}

/// The parts of a multi (writes) or of a multiRead (reads).
fn parts(r: &mut Reader, reads: bool) -> jute::Result<Vec<MultiOp>> {
    let at = r.position();
    let ops = jute::read_multi(r)?;
    match ops
        .iter()
        .find(|op| matches!(op, MultiOp::GetData(_) | MultiOp::GetChildren(_)) != reads)
    {
        None => Ok(ops),
        Some(wrong) => Err(jute::Error::Value {
            at,
            what: "operation of a multi",
            value: wrong.code().code().into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::clock::Clock;

    #[test]
    fn no_packet_whatever_makes_reading_panic_or_allocate_beyond_it() {
        let mut state = Clock::system().wall().0 as u64 | 1;
        println!("seed {state}");
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let len = next() as usize % 80;
            let mut packet: Vec<u8> = (0..len)
                .map(|_| match next() % 4 {
                    0 => next() as u8,
                    1 => 255,
                    _ => (next() % 4) as u8,
                })
                .collect();
            if packet.len() >= 8 {
                let op = (next() % 110) as i32 - 1;
                packet[4..8].copy_from_slice(&op.to_be_bytes());
            }
            let whole = packet.len() >= 8;
            let parsed = Request::parse(Bytes::from(packet));
            assert_eq!(parsed.is_ok(), whole, "a header is all that must be there");
        }
    }

    #[test]
    fn a_multi_of_reads_is_no_multi_of_writes() {
        let get = MultiOp::GetData(WatchableRequest::default());
        let mut packet = bytes::BytesMut::new();
        RequestHeader { xid: 1, op: 14 }.write(&mut packet);
        jute::write_multi(&[get], &mut packet);
        let (_, request) = Request::parse(packet.clone().freeze()).unwrap();
        assert_eq!(request, Request::Malformed(OpCode::Multi));
        packet[7] = 22;
        let (_, request) = Request::parse(packet.freeze()).unwrap();
        assert!(matches!(request, Request::MultiRead(_)));
    }
}
