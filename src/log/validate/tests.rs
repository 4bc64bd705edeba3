use super::*;
use crate::log::testing::{set, single, stored};
use crate::message::builder::put_entry;
use crate::message::{Error as Wrong, SetIter, flatten};

fn leader(set: BytesMut, config: &LogConfig) -> Result<Bytes> {
    check_for_leader(set, config)?.assign(1000, config)
}

fn with_compression(name: &str) -> LogConfig {
    LogConfig {
        compression_type: name.to_owned(),
        ..LogConfig::default()
    }
}

fn shallow_offsets(set: &[u8]) -> Vec<Offset> {
    SetIter::new(set).map(|m| m.unwrap().offset).collect()
}

#[test]
fn plain_offsets_are_given_in_the_same_memory() {
    let set = set(Codec::None, &[b"a", b"b", b"c"]);
    let memory = set.as_ptr();
    let out = leader(set, &LogConfig::default()).unwrap();
    assert_eq!(out.as_ptr(), memory);
    assert_eq!(shallow_offsets(&out), [1000, 1001, 1002]);
}

#[test]
fn a_partial_entry_at_the_end_is_dropped() {
    let mut bytes = set(Codec::None, &[b"a", b"b"]);
    bytes.truncate(bytes.len() - 1);
    let out = leader(bytes, &LogConfig::default()).unwrap();
    assert_eq!(shallow_offsets(&out), [1000]);
}

#[test]
fn compression_type_decides_what_is_stored() {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];
    for from in codecs {
        for (name, to) in [
            ("producer", from),
            ("uncompressed", Codec::None),
            ("gzip", Codec::Gzip),
            ("snappy", Codec::Snappy),
            ("lz4", Codec::Lz4),
        ] {
            let out = leader(set(from, &[b"one", b"two", b"three"]), &with_compression(name)).unwrap();
            let shallow: Vec<_> = SetIter::new(&out).map(|m| m.unwrap()).collect();
            assert!(shallow.iter().all(|m| m.codec().unwrap() == to && m.magic == 0));
            match to {
                Codec::None => assert_eq!(shallow_offsets(&out), [1000, 1001, 1002]),
                _ => assert_eq!(shallow_offsets(&out), [1002], "the last one's offset"),
            }
            let deep = flatten(&out, true).unwrap();
            assert!(deep.iter().map(|m| m.offset).eq(1000..1003), "{from:?} {name}");
            assert_eq!(deep[1].value.as_deref(), Some(&b"two"[..]));
        }
    }
}

#[test]
fn mixed_sets_become_one_wrapper_of_the_last_codec() {
    let mut mixed = set(Codec::Gzip, &[b"1", b"2"]);
    mixed.extend_from_slice(&single(b"3"));
    mixed.extend_from_slice(&set(Codec::Lz4, &[b"4"]));
    mixed.extend_from_slice(&single(b"5"));
    let out = leader(mixed, &LogConfig::default()).unwrap();
    let shallow: Vec<_> = SetIter::new(&out).map(|m| m.unwrap()).collect();
    assert_eq!(shallow.len(), 1);
    assert_eq!((shallow[0].codec(), shallow[0].offset), (Ok(Codec::Lz4), 1004));
    let deep = flatten(&out, true).unwrap();
    let values: Vec<_> = deep.iter().map(|m| m.value.clone().unwrap()).collect();
    assert_eq!(values, ["1", "2", "3", "4", "5"]);
}

#[test]
fn inner_messages_keep_their_bytes_even_with_a_wrong_checksum() {
    let mut inner = stored(0, b"x").to_vec();
    inner[12] ^= 0xff;
    let wrapper = wrap(Codec::Gzip, &inner, 0);
    let out = leader(wrapper, &LogConfig::default()).unwrap();
    assert!(flatten(&out, true).is_err());
    assert_eq!(flatten(&out, false).unwrap()[0].offset, 1000);
}

#[test]
fn wrappers_without_messages_append_nothing() {
    let checked = check_for_leader(wrap(Codec::Snappy, &[], 0), &LogConfig::default()).unwrap();
    assert!(!checked.is_empty());
    assert_eq!(checked.messages, 0);
    assert_eq!(checked.assign(5, &LogConfig::default()).unwrap(), Bytes::new());
}

#[test]
fn each_fault_has_its_error() {
    let config = LogConfig::default();
    let mut bad_crc = single(b"a");
    bad_crc[12] ^= 1;
    assert!(matches!(
        leader(bad_crc, &config),
        Err(Error::Corrupt {
            reason: Wrong::Checksum { .. }
        })
    ));
    let mut small = single(b"a");
    small[11] = 13;
    assert!(matches!(
        leader(small, &config),
        Err(Error::Corrupt {
            reason: Wrong::TooSmall { .. }
        })
    ));
    let resealed = |change: fn(&mut [u8])| {
        let mut set = single(b"abc");
        change(&mut set);
        let crc = crc32(&set[16..]);
        set[12..16].copy_from_slice(&crc.to_be_bytes());
        set
    };
    assert!(matches!(
        leader(resealed(|s| s[16] = 1), &config),
        Err(Error::Corrupt {
            reason: Wrong::Magic { magic: 1, .. }
        })
    ));
    assert!(matches!(
        leader(resealed(|s| s[17] = 5), &config),
        Err(Error::UnknownCodec(5))
    ));
    assert!(matches!(
        leader(resealed(|s| s[17] = 1), &config),
        Err(Error::Undecodable { .. })
    ));
    assert!(matches!(
        leader(resealed(|s| s[25] = 77), &config),
        Err(Error::Corrupt {
            reason: Wrong::Malformed { .. }
        })
    ));
}

#[test]
fn the_size_limit_counts_the_twelve_bytes_before_a_message() {
    let config = LogConfig {
        max_message_bytes: 126,
        ..LogConfig::default()
    };
    assert!(leader(single(&[0; 100]), &config).is_ok());
    assert!(matches!(
        leader(single(&[0; 101]), &config),
        Err(Error::TooLarge {
            size: 127,
            limit: 126
        })
    ));
    // What fits as a wrapper need not fit without.
    let flat = LogConfig {
        compression_type: "uncompressed".to_owned(),
        ..config
    };
    assert!(matches!(
        leader(set(Codec::Gzip, &[&[0; 1000]]), &flat),
        Err(Error::TooLarge { size: 1026, .. })
    ));
}

#[test]
fn a_bomb_is_too_large() {
    let mut bomb = set(Codec::Gzip, &[&vec![0; 200 << 20]]);
    assert!(bomb.len() < 1_000_000);
    bomb.reserve(0);
    assert!(matches!(
        leader(bomb, &LogConfig::default()),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn a_set_that_ends_within_an_inner_message_is_refused() {
    let whole = set(Codec::None, &[b"one", b"two"]);
    let cut = wrap(Codec::Lz4, &whole[..whole.len() - 1], 1);
    assert!(matches!(
        leader(cut, &LogConfig::default()),
        Err(Error::Undecodable { .. })
    ));
}

#[test]
fn compacted_topics_take_no_message_without_key() {
    let compact = LogConfig {
        compact: true,
        ..LogConfig::default()
    };
    let keyed = |key: Option<&[u8]>| {
        let mut out = BytesMut::new();
        put_entry(&mut out, 0, 0, key, Some(b"v"));
        out
    };
    assert!(leader(keyed(Some(b"k")), &compact).is_ok());
    assert!(matches!(leader(keyed(None), &compact), Err(Error::MissingKey)));
    // Kafka's own difference: an empty key is none only where the set stays as it is.
    assert!(matches!(
        leader(keyed(Some(b"")), &compact),
        Err(Error::MissingKey)
    ));
    assert!(leader(wrap(Codec::Gzip, &keyed(Some(b"")), 0), &compact).is_ok());
    assert!(matches!(
        leader(wrap(Codec::Gzip, &keyed(None), 0), &compact),
        Err(Error::MissingKey)
    ));
    let compressing = LogConfig {
        compression_type: "gzip".to_owned(),
        ..compact
    };
    assert!(leader(keyed(Some(b"")), &compressing).is_ok());
    assert!(matches!(
        leader(keyed(None), &compressing),
        Err(Error::MissingKey)
    ));
}

#[test]
fn followers_want_rising_offsets_from_their_end_on() {
    let copied = [stored(7, b"a"), stored(9, b"b")].concat();
    let seen = check_for_follower(&copied, 5).unwrap();
    assert_eq!(
        (seen.first, seen.last, seen.messages, seen.valid),
        (7, 9, 2, copied.len())
    );
    assert!(matches!(
        check_for_follower(&copied, 8),
        Err(Error::OutOfOrder {
            offset: 7,
            expected: 8
        })
    ));
    let falling = [stored(9, b"a"), stored(9, b"b")].concat();
    assert!(matches!(
        check_for_follower(&falling, 5),
        Err(Error::OutOfOrder {
            offset: 9,
            expected: 10
        })
    ));
    let cut = &copied[..copied.len() - 3];
    assert_eq!(check_for_follower(cut, 5).unwrap().last, 7);
}
