//! The records of the offsets topic, byte by byte (kafka.coordinator.GroupMetadataManager). Pure.
//!
//! ```text
//! key   = 0|1:i16  group  topic  partition:i32      an offset; 1 is written
//!         2:i16    group                            a group
//! value = 0:i16  offset:i64  metadata  time:i64                    of an offset
//!         1:i16  offset:i64  metadata  committed:i64  expires:i64  of an offset; this one is written
//!         0:i16  type  generation:i32  protocol  leader  count:i32 member*      of a group
//! member = id  client id  client host  session timeout:i32  subscription  assignment
//! ```
//!
//! Text has a 16-bit length, the last two fields of a member a 32-bit one; no length is -1. A null value
//! is a tombstone.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::member::own;
use super::offsets::Committed;
use crate::message::Offset;
use crate::util::clock::WallMs;
use crate::util::codec::{self, Reader, put_bytes, put_short_string};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 1;
const GROUP_VALUE: i16 = 0;

/// What a record's bytes are not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A version that 0.9.0.1 does not know.
    #[error("unknown version {version} of {what}")]
    Version {
        /// `a key`, `an offset` or `a group`.
        what: &'static str,
        /// As stored.
        version: i16,
    },
    /// Bytes that do not fit the layout.
    #[error(transparent)]
    Bytes(#[from] codec::Error),
}

/// Result of reading a record.
pub type Result<T> = std::result::Result<T, Error>;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A group's offset in a partition.
    Offset {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A group.
    Group(String),
}

impl Key {
    /// Reads a key of any known version.
    ///
    /// # Errors
    /// [`Error`]
    pub fn decode(bytes: Bytes) -> Result<Key> {
        let mut r = Reader::new(bytes);
        match r.i16()? {
            0 | OFFSET_KEY => Ok(Key::Offset {
                group: text(&mut r)?,
                topic: text(&mut r)?,
                partition: r.i32()?,
            }),
            GROUP_KEY => Ok(Key::Group(text(&mut r)?)),
            version => Err(Error::Version {
                what: "a key",
                version,
            }),
        }
    }
}

/// Adds the key of a group's offset.
pub fn put_offset_key(out: &mut BytesMut, group: &str, topic: &str, partition: i32) {
    out.reserve(10 + group.len() + topic.len());
    out.put_i16(OFFSET_KEY);
    put_short_string(out, Some(group));
    put_short_string(out, Some(topic));
    out.put_i32(partition);
}

/// The key of a group.
pub fn group_key(group: &str) -> BytesMut {
    let mut out = BytesMut::with_capacity(4 + group.len());
    out.put_i16(GROUP_KEY);
    put_short_string(&mut out, Some(group));
    out
}

/// Adds the value of an offset.
pub fn put_offset_value(out: &mut BytesMut, committed: &Committed) {
    out.reserve(28 + committed.metadata.len());
    out.put_i16(OFFSET_VALUE);
    out.put_i64(committed.offset);
    put_short_string(out, Some(&committed.metadata));
    out.put_i64(committed.at.0);
    out.put_i64(committed.expires.0);
}

/// Reads the value of an offset. One without its own time of expiry gets its commit's plus `retention`.
///
/// # Errors
/// [`Error`]
pub fn decode_offset_value(bytes: Bytes, retention: Duration) -> Result<Committed> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    if !(0..=OFFSET_VALUE).contains(&version) {
        return Err(Error::Version {
            what: "an offset",
            version,
        });
    }
    let offset: Offset = r.i64()?;
    let metadata = text(&mut r)?.into();
    let at = WallMs(r.i64()?);
    let expires = if version == 0 { -1 } else { r.i64()? };
    let expires = match expires {
        -1 => {
            at.0.saturating_add(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX))
        }
        own => own,
    };
    Ok(Committed {
        offset,
        metadata,
        at,
        expires: WallMs(expires),
    })
}

/// A stable group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Such as `consumer`.
    pub protocol_type: String,
    /// Counts the rebalances.
    pub generation: i32,
    /// How work is shared.
    pub protocol: String,
    /// Who shares it out.
    pub leader: Arc<str>,
    /// Everyone.
    pub members: Vec<MemberRecord>,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its id.
    pub id: Arc<str>,
    /// As its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// In milliseconds.
    pub session_timeout_ms: i32,
    /// What it said for the protocol.
    pub subscription: Bytes,
    /// Its share.
    pub assignment: Bytes,
}

impl GroupRecord {
    /// Copies the members' bytes out of what they were read from, so as not to keep that alive.
    pub(super) fn own_bytes(&mut self) {
        for m in &mut self.members {
            m.subscription = own(&m.subscription);
            m.assignment = own(&m.assignment);
        }
    }

    /// The value of a group.
    pub fn encode(&self) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VALUE);
        put_short_string(&mut out, Some(&self.protocol_type));
        out.put_i32(self.generation);
        put_short_string(&mut out, Some(&self.protocol));
        put_short_string(&mut out, Some(&self.leader));
        out.put_i32(i32::try_from(self.members.len()).expect("each member came in a request of its own"));
        for m in &self.members {
            put_short_string(&mut out, Some(&m.id));
            put_short_string(&mut out, Some(&m.client_id));
            put_short_string(&mut out, Some(&m.client_host));
            out.put_i32(m.session_timeout_ms);
            put_bytes(&mut out, Some(&m.subscription));
            put_bytes(&mut out, Some(&m.assignment));
        }
        out
    }

    /// Reads the value of a group.
    ///
    /// # Errors
    /// [`Error`]
    pub fn decode(bytes: Bytes) -> Result<GroupRecord> {
        let mut r = Reader::new(bytes);
        let version = r.i16()?;
        if version != GROUP_VALUE {
            return Err(Error::Version {
                what: "a group",
                version,
            });
        }
        let mut record = GroupRecord {
            protocol_type: text(&mut r)?,
            generation: r.i32()?,
            protocol: text(&mut r)?,
            leader: text(&mut r)?.into(),
            members: Vec::new(),
        };
        for _ in 0..r.i32()? {
            record.members.push(MemberRecord {
                id: text(&mut r)?.into(),
                client_id: text(&mut r)?,
                client_host: text(&mut r)?,
                session_timeout_ms: r.i32()?,
                subscription: bytes_field(&mut r)?,
                assignment: bytes_field(&mut r)?,
            });
        }
        Ok(record)
    }
}

fn text(r: &mut Reader) -> Result<String> {
    let at = r.position();
    let text = r.nullable_short_string()?;
    Ok(text.ok_or(codec::Error::Length { at, length: -1 })?)
}

fn bytes_field(r: &mut Reader) -> Result<Bytes> {
    let at = r.position();
    let bytes = r.nullable_bytes()?;
    Ok(bytes.ok_or(codec::Error::Length { at, length: -1 })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Bytes {
        let digits: String = text.split_whitespace().collect();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn keys_are_kafkas() {
        let mut key = BytesMut::new();
        put_offset_key(&mut key, "g", "t", 0);
        assert_eq!(key, hex("0001 0001 67 0001 74 00000000"));
        assert_eq!(group_key("g").freeze(), hex("0002 0001 67"));
        let offset = Key::Offset {
            group: "g".into(),
            topic: "t".into(),
            partition: 7,
        };
        for version in ["0000", "0001"] {
            let bytes = hex(&format!("{version} 0001 67 0001 74 00000007"));
            assert_eq!(Key::decode(bytes), Ok(offset.clone()));
        }
        assert_eq!(Key::decode(hex("0002 0001 67")), Ok(Key::Group("g".into())));
        assert_eq!(
            Key::decode(hex("0003 0001 67")),
            Err(Error::Version {
                what: "a key",
                version: 3
            })
        );
        assert!(Key::decode(hex("0001 ffff 0001 74 00000000")).is_err());
        assert!(Key::decode(hex("0001 7fff 67")).is_err());
        assert!(Key::decode(Bytes::new()).is_err());
    }

    #[test]
    fn offsets_are_written_in_version_1_and_read_in_both() {
        let committed = Committed {
            offset: 9,
            metadata: "m".into(),
            at: WallMs(3),
            expires: WallMs(5),
        };
        let bytes = hex("0001 0000000000000009 0001 6d 0000000000000003 0000000000000005");
        let mut value = BytesMut::new();
        put_offset_value(&mut value, &committed);
        assert_eq!(value, bytes);
        let day = Duration::from_secs(86_400);
        assert_eq!(decode_offset_value(bytes, day), Ok(committed.clone()));
        let old = Committed {
            expires: WallMs(86_400_003),
            ..committed
        };
        let v0 = hex("0000 0000000000000009 0001 6d 0000000000000003");
        assert_eq!(decode_offset_value(v0, day), Ok(old.clone()));
        let without = hex("0001 0000000000000009 0001 6d 0000000000000003 ffffffffffffffff");
        assert_eq!(decode_offset_value(without, day), Ok(old));
        assert!(decode_offset_value(hex("0002"), day).is_err());
    }

    #[test]
    fn groups_are_kafkas() {
        let record = GroupRecord {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: "range".into(),
            leader: "m".into(),
            members: vec![MemberRecord {
                id: "m".into(),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: 30_000,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::new(),
            }],
        };
        let bytes = hex(
            "0000 0008 636f6e73756d6572 00000003 0005 72616e6765 0001 6d 00000001
             0001 6d 0001 63 000a 2f3132372e302e302e31 00007530 00000001 73 00000000",
        );
        assert_eq!(record.encode().freeze(), bytes);
        assert_eq!(GroupRecord::decode(bytes.clone()), Ok(record));
        for cut in 0..bytes.len() {
            assert!(GroupRecord::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
