//! Several operations in one request, and their results in one answer.
//!
//! Both are a sequence of [`MultiHeader`] and body, ended by a header that says it is done.

use bytes::{BufMut, BytesMut};

use super::codec::{Error, Reader, Record, Result};
use super::error_code::ErrorCode;
use super::op::OpCode;
use super::records::{
    CheckRequest, ChildrenResponse, Create2Response, CreateRequest, CreateTtlRequest, DeleteRequest,
    GetDataResponse, PathRecord, SetDataRequest, Stat, WatchableRequest,
};

/// What stands before each part of a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeader {
    /// The part's operation; -1 for an error and for the end.
    pub op: i32,
    /// Whether this is the end.
    pub done: bool,
    /// The error of the part; -1 in requests and at the end.
    pub err: i32,
}

impl MultiHeader {
    /// The header that ends a multi.
    pub const END: MultiHeader = MultiHeader {
        op: -1,
        done: true,
        err: -1,
    };
}

impl Record for MultiHeader {
    fn read(r: &mut Reader) -> Result<MultiHeader> {
        Ok(MultiHeader {
            op: r.i32()?,
            done: bool::read(r)?,
            err: r.i32()?,
        })
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(self.op);
        self.done.write(out);
        out.put_i32(self.err);
    }
}

/// One operation of a multi or a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp {
    /// Make a node; the answer is its path.
    Create(CreateRequest),
    /// Make a node; the answer is path and stat (3.5).
    Create2(CreateRequest),
    /// Make a container; the answer is path and stat (3.5).
    CreateContainer(CreateRequest),
    /// Make a node with a time to live; the answer is path and stat (3.5).
    CreateTtl(CreateTtlRequest),
    /// Remove a node.
    Delete(DeleteRequest),
    /// Set data; the answer is the stat.
    SetData(SetDataRequest),
    /// Fail unless the node has that version.
    Check(CheckRequest),
    /// Data and stat; in a multiRead (3.6).
    GetData(WatchableRequest),
    /// Names of children; in a multiRead (3.6).
    GetChildren(WatchableRequest),
}

impl MultiOp {
    /// The operation's code.
    pub fn code(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetData(_) => OpCode::GetData,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
        }
    }

    fn write_body(&self, out: &mut BytesMut) {
        match self {
            MultiOp::Create(b) | MultiOp::Create2(b) | MultiOp::CreateContainer(b) => b.write(out),
            MultiOp::CreateTtl(b) => b.write(out),
            MultiOp::Delete(b) => b.write(out),
            MultiOp::SetData(b) => b.write(out),
            MultiOp::Check(b) => b.write(out),
            MultiOp::GetData(b) | MultiOp::GetChildren(b) => b.write(out),
        }
    }
}

/// Reads the body of a multi or multiRead request.
///
/// # Errors
/// Also for an operation that has no place in either.
pub fn read_multi(r: &mut Reader) -> Result<Vec<MultiOp>> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(ops);
        }
        ops.push(match OpCode::from_i32(header.op) {
            Some(OpCode::Create) => MultiOp::Create(Record::read(r)?),
            Some(OpCode::Create2) => MultiOp::Create2(Record::read(r)?),
            Some(OpCode::CreateContainer) => MultiOp::CreateContainer(Record::read(r)?),
            Some(OpCode::CreateTtl) => MultiOp::CreateTtl(Record::read(r)?),
            Some(OpCode::Delete) => MultiOp::Delete(Record::read(r)?),
            Some(OpCode::SetData) => MultiOp::SetData(Record::read(r)?),
            Some(OpCode::Check) => MultiOp::Check(Record::read(r)?),
            Some(OpCode::GetData) => MultiOp::GetData(Record::read(r)?),
            Some(OpCode::GetChildren) => MultiOp::GetChildren(Record::read(r)?),
            _ => return Err(illegal(r, header.op)),
        });
    }
}

/// Appends the body of a multi or multiRead request.
pub fn write_multi(ops: &[MultiOp], out: &mut BytesMut) {
    for op in ops {
        let header = MultiHeader {
            op: op.code().code(),
            done: false,
            err: -1,
        };
        header.write(out);
        op.write_body(out);
    }
    MultiHeader::END.write(out);
}

/// One result of a multi or a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult {
    /// The node was made.
    Create(PathRecord),
    /// The node was made by create2, createContainer or createTTL.
    Create2(Create2Response),
    /// The node is gone.
    Delete,
    /// The data was set.
    SetData(Stat),
    /// The version was as expected.
    Check,
    /// What a multiRead found.
    GetData(GetDataResponse),
    /// What a multiRead found.
    GetChildren(ChildrenResponse),
    /// The error of this operation. In a failed multi every result is one: [`ErrorCode::OK`] before
    /// the operation that failed, [`ErrorCode::RUNTIME_INCONSISTENCY`] after it.
    Error(ErrorCode),
}

/// Reads the body of the answer to a multi or multiRead.
///
/// # Errors
/// Also for a result that has no place in either.
pub fn read_multi_results(r: &mut Reader) -> Result<Vec<MultiResult>> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            return Ok(results);
        }
        results.push(match OpCode::from_i32(header.op) {
            Some(OpCode::Create) => MultiResult::Create(Record::read(r)?),
            Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
                MultiResult::Create2(Record::read(r)?)
            }
            Some(OpCode::Delete) => MultiResult::Delete,
            Some(OpCode::SetData) => MultiResult::SetData(Record::read(r)?),
            Some(OpCode::Check) => MultiResult::Check,
            Some(OpCode::GetData) => MultiResult::GetData(Record::read(r)?),
            Some(OpCode::GetChildren) => MultiResult::GetChildren(Record::read(r)?),
            Some(OpCode::Error) => MultiResult::Error(Record::read(r)?),
            _ => return Err(illegal(r, header.op)),
        });
    }
}

/// Appends the body of the answer to a multi or multiRead.
pub fn write_multi_results<'a>(results: impl IntoIterator<Item = &'a MultiResult>, out: &mut BytesMut) {
    for result in results {
        let (op, err) = match result {
            MultiResult::Create(_) => (OpCode::Create, 0),
            MultiResult::Create2(_) => (OpCode::Create2, 0),
            MultiResult::Delete => (OpCode::Delete, 0),
            MultiResult::SetData(_) => (OpCode::SetData, 0),
            MultiResult::Check => (OpCode::Check, 0),
            MultiResult::GetData(_) => (OpCode::GetData, 0),
            MultiResult::GetChildren(_) => (OpCode::GetChildren, 0),
            MultiResult::Error(e) => (OpCode::Error, e.0),
        };
        let header = MultiHeader {
            op: op.code(),
            done: false,
            err,
        };
        header.write(out);
        match result {
            MultiResult::Create(b) => b.write(out),
            MultiResult::Create2(b) => b.write(out),
            MultiResult::SetData(b) => b.write(out),
            MultiResult::GetData(b) => b.write(out),
            MultiResult::GetChildren(b) => b.write(out),
            MultiResult::Error(b) => b.write(out),
            MultiResult::Delete | MultiResult::Check => {}
        }
    }
    MultiHeader::END.write(out);
}

/// Appends the answer to a multi of `count` operations of which number `at` failed with `err`.
pub fn write_multi_failure(count: usize, at: usize, err: ErrorCode, out: &mut BytesMut) {
    let results: Vec<_> = (0..count)
        .map(|i| match i.cmp(&at) {
            std::cmp::Ordering::Less => MultiResult::Error(ErrorCode::OK),
            std::cmp::Ordering::Equal => MultiResult::Error(err),
            std::cmp::Ordering::Greater => MultiResult::Error(ErrorCode::RUNTIME_INCONSISTENCY),
        })
        .collect();
    write_multi_results(&results, out);
}

fn illegal(r: &Reader, op: i32) -> Error {
    Error::Value {
        at: r.position(),
        what: "operation of a multi",
        value: op.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn operations_read_back_as_written() {
        let ops = vec![
            MultiOp::Create2(CreateRequest {
                path: "/a".into(),
                ..Default::default()
            }),
            MultiOp::Check(CheckRequest {
                path: "/a".into(),
                version: 0,
            }),
            MultiOp::Delete(DeleteRequest {
                path: "/a".into(),
                version: -1,
            }),
        ];
        let mut out = BytesMut::new();
        write_multi(&ops, &mut out);
        assert_eq!(read_multi(&mut Reader::new(out.freeze())).unwrap(), ops);
    }

    #[test]
    fn a_failure_tells_before_at_and_after() {
        let mut out = BytesMut::new();
        write_multi_failure(3, 1, ErrorCode::NO_NODE, &mut out);
        let results = read_multi_results(&mut Reader::new(out.freeze())).unwrap();
        let codes: Vec<_> = results
            .iter()
            .map(|r| match r {
                MultiResult::Error(e) => e.0,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(codes, [0, -101, -2]);
    }

    #[test]
    fn a_read_has_no_place_in_the_results_of_another_kind() {
        let mut out = BytesMut::new();
        out.put_i32(100);
        out.put_u8(0);
        out.put_i32(-1);
        assert!(read_multi(&mut Reader::new(Bytes::from(out))).is_err());
    }
}
