//! What members of a group tell each other through the coordinator, which does not look into it
//! (ConsumerProtocol). Both layouts are version 0; later versions are read as far as version 0 goes.
//!
//! ```text
//! subscription = version:i16 [topic:str] user_data:nullable bytes
//! assignment   = version:i16 [topic:str [partition:i32]] user_data:nullable bytes
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use crate::cluster::TopicPartition;
use crate::protocol::wire::{Dialect, Field};
use crate::util::codec::{Error, Reader, Result, put_bytes};

/// The kind of group that consumers make.
pub const PROTOCOL_TYPE: &str = "consumer";

const VERSION: i16 = 0;

/// What a member wants. Equal sets are equal bytes, so that the coordinator sees no change where there is
/// none.
pub(super) fn encode_subscription(topics: &BTreeSet<String>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    topics.iter().cloned().collect::<Vec<String>>().write(&mut out);
    put_bytes(&mut out, None);
    out.freeze()
}

/// What another member wants.
pub(super) fn decode_subscription(bytes: Bytes) -> Result<BTreeSet<String>> {
    let mut r = Reader::new(bytes);
    version(&mut r)?;
    let topics: Vec<String> = Field::read(&mut r, Dialect::Java)?;
    r.nullable_bytes()?;
    Ok(topics.into_iter().collect())
}

/// What a member gets.
pub(super) fn encode_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for p in partitions {
        by_topic.entry(&p.topic).or_default().push(p.partition);
    }
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    out.put_i32(i32::try_from(by_topic.len()).expect("as many as metadata has topics"));
    for (topic, partitions) in by_topic {
        topic.to_owned().write(&mut out);
        partitions.write(&mut out);
    }
    put_bytes(&mut out, None);
    out.freeze()
}

/// What this member gets. No bytes at all are nothing: a coordinator has no more for a member that the
/// leader forgot.
///
/// # Errors
/// If the bytes are something else.
pub fn decode_assignment(bytes: Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes);
    version(&mut r)?;
    let topics = r.i32()?;
    let mut all = Vec::new();
    for _ in 0..topics {
        let topic = String::read(&mut r, Dialect::Java)?;
        let partitions: Vec<i32> = Field::read(&mut r, Dialect::Java)?;
        let topic: std::sync::Arc<str> = topic.into();
        all.extend(
            partitions
                .into_iter()
                .map(|p| TopicPartition::new(topic.clone(), p)),
        );
    }
    r.nullable_bytes()?;
    Ok(all)
}

fn version(r: &mut Reader) -> Result<()> {
    match r.i16()? {
        0.. => Ok(()),
        value => Err(Error::Value {
            at: r.position(),
            what: "version",
            value: value.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn bytes(hex: &str) -> Bytes {
        (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect::<Vec<u8>>()
            .into()
    }

    const SUBSCRIPTION: &str = "0000000000010006746f70696331ffffffff";
    const ASSIGNMENT: &str = "0000000000010006746f70696331000000020000000000000001ffffffff";

    #[test]
    fn the_bytes_are_those_of_the_java_client() {
        let topics = BTreeSet::from(["topic1".to_owned()]);
        assert_eq!(hex(&encode_subscription(&topics)), SUBSCRIPTION);
        assert_eq!(decode_subscription(bytes(SUBSCRIPTION)), Ok(topics));
        let partitions = [0, 1].map(|p| TopicPartition::new("topic1", p));
        assert_eq!(hex(&encode_assignment(&partitions)), ASSIGNMENT);
        assert_eq!(decode_assignment(bytes(ASSIGNMENT)), Ok(partitions.to_vec()));
    }

    #[test]
    fn later_versions_are_read_as_the_first_and_negative_ones_refused() {
        let later = format!("0003{}deadbeef", &SUBSCRIPTION[4..]);
        assert!(decode_subscription(bytes(&later)).is_ok());
        let wrong = format!("ffff{}", &ASSIGNMENT[4..]);
        assert!(decode_assignment(bytes(&wrong)).is_err());
    }

    #[test]
    fn nothing_is_an_assignment_and_garbage_is_none() {
        assert_eq!(decode_assignment(Bytes::new()), Ok(vec![]));
        assert_eq!(decode_assignment(encode_assignment(&[])), Ok(vec![]));
        for cut in 1..ASSIGNMENT.len() / 2 {
            assert!(decode_assignment(bytes(&ASSIGNMENT[..2 * cut])).is_err(), "{cut}");
        }
        // A count far beyond what is there.
        assert!(decode_assignment(bytes("00007fffffff")).is_err());
    }
}
