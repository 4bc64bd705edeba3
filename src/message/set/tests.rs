use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::message::builder::put_entry;
use crate::message::{SetBuilder, flatten};

/// The messages A, B and C of the format's description.
const A: &str = "0000000000000000 00000015 71ef5770 00 00 00000002 6b31 00000005 68656c6c6f";
const B: &str = "0000000000000001 00000013 8bc0cd77 00 00 ffffffff 00000005 776f726c64";
const C: &str = "0000000000000002 00000010 cc83990a 00 00 00000002 6b31 ffffffff";
/// A gzip wrapper around A and B with the offsets 100 and 101.
const D: &str = "0000000000000065 0000004f 9b967c74 00 01 ffffffff 00000041 \
    1f8b0800000000000000 63600083142016 2d7c1f5e00e631651b0249d68cd49c9c7c883c432a100b771f \
    385bcec0f01f0840d2e5f945392900 6dd50d8640000000";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn built(offset: Offset, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = BytesMut::new();
    put_entry(&mut out, offset, 0, key, value);
    out.to_vec()
}

#[test]
fn entries_are_laid_out_as_kafka_lays_them() {
    assert_eq!(built(0, Some(b"k1"), Some(b"hello")), hex(A));
    assert_eq!(built(1, None, Some(b"world")), hex(B));
    assert_eq!(built(2, Some(b"k1"), None), hex(C));
}

#[test]
fn checksums_are_those_of_kafka() {
    for (key, value, message) in [
        (
            Some(&b"k"[..]),
            Some(&b"v"[..]),
            "1fecd70a 00 00 00000001 6b 00000001 76",
        ),
        (None, None, "a7ec68030000ffffffffffffffff"),
        (None, Some(b"test"), "592a47870000ffffffff0000000474657374"),
    ] {
        assert_eq!(built(0, key, value)[ENTRY_OVERHEAD..], hex(message));
    }
}

#[test]
fn a_wrapper_s_messages_have_the_offsets_inside() {
    let messages = flatten(&Bytes::from(hex(D)), true).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.offset, m.key.as_deref(), m.value.as_deref(), m.crc))
        .collect();
    assert_eq!(
        seen,
        [
            (100, Some(&b"k1"[..]), Some(&b"hello"[..]), 0x71ef_5770),
            (101, None, Some(&b"world"[..]), 0x8bc0_cd77),
        ]
    );
}

#[test]
fn a_set_ends_silently_within_an_entry() {
    let whole = [hex(A), hex(B)].concat();
    for cut in 33..whole.len() {
        let seen: Vec<_> = SetIter::new(&whole[..cut]).collect();
        assert_eq!(seen.len(), 1, "{cut}");
        assert_eq!(seen[0].as_ref().unwrap().end(), 33);
    }
}

#[test]
fn a_size_that_no_message_has_is_an_error_and_the_end() {
    let mut set = hex(A);
    set[11] = 13;
    let mut iter = SetIter::new(&set);
    assert_eq!(
        iter.next(),
        Some(Err(Error::TooSmall {
            position: 0,
            size: 13
        }))
    );
    assert_eq!(iter.next(), None);
}

#[test]
fn lengths_that_do_not_fit_the_message_are_errors() {
    let mut set = hex(A);
    set[21] = 100;
    let field = "key";
    assert_eq!(
        SetIter::new(&set).next(),
        Some(Err(Error::Malformed {
            position: 0,
            field,
            length: 100
        }))
    );
    let mut set = hex(B);
    set[25] = 6;
    assert!(matches!(
        SetIter::new(&set).next(),
        Some(Err(Error::Malformed { field: "value", .. }))
    ));
}

#[test]
fn built_sets_come_back_with_offsets_from_zero() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let mut builder = SetBuilder::new(codec, 1 << 20);
        for i in 0..100 {
            let key = format!("key-{i}");
            assert!(builder.append((i % 3 > 0).then_some(key.as_bytes()), Some(&[7; 50])));
        }
        let set = builder.finish();
        let shallow: Vec<_> = SetIter::new(&set).map(|m| m.unwrap()).collect();
        assert_eq!(shallow.last().unwrap().offset, 99);
        assert_eq!(shallow.len(), if codec == Codec::None { 100 } else { 1 });
        let messages = flatten(&set, true).unwrap();
        assert!(messages.iter().map(|m| m.offset).eq(0..100), "{codec:?}");
        assert_eq!(messages[1].key.as_deref(), Some(&b"key-1"[..]));
        assert_eq!(messages[3].key, None);
    }
}

#[test]
fn a_full_builder_refuses_all_but_its_first_message() {
    let mut builder = SetBuilder::new(Codec::None, 60);
    assert!(builder.append(None, Some(&[0; 100])));
    assert!(!builder.append(None, None));
    assert_eq!((builder.count(), builder.len()), (1, 126));
}

proptest! {
    #[test]
    fn garbage_never_panics_and_views_stay_inside(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut iter = SetIter::new(&bytes);
        for message in iter.by_ref().flatten() {
            prop_assert!(message.end() <= bytes.len());
        }
        prop_assert!(iter.position() <= bytes.len());
        let _ = flatten(&Bytes::from(bytes), true);
    }

    /// Damage at any one place of a real set is found by the checksum or leaves whole messages.
    #[test]
    fn damaged_sets_never_panic(at in 0usize..92, to in any::<u8>(), cut in 0usize..92) {
        let mut bytes = [hex(A), hex(B), hex(C)].concat();
        bytes[at] = to;
        bytes.truncate(cut.max(1));
        let _ = flatten(&Bytes::from(bytes.clone()), false);
        let _ = flatten(&Bytes::from(bytes), true);
    }

    /// No codec trusts what a damaged stream claims.
    #[test]
    fn damaged_streams_never_panic(codec in 1i8..4, at in 0usize..200, to in any::<u8>(), cut in 0usize..200) {
        let codec = Codec::from_attributes(codec).unwrap();
        let mut bytes = crate::message::compression::compress(codec, &[5; 1000]);
        let n = bytes.len();
        bytes[at % n] = to;
        bytes.truncate((cut % n).max(1));
        let _ = crate::message::compression::decompress(codec, &bytes, 10_000);
    }
}
