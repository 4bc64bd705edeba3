use super::*;

const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];

/// Bytes that compress a little and differ everywhere.
fn sample(n: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * i / 7) ^ (i >> 5)) as u8).collect()
}

#[test]
fn what_goes_in_comes_out_at_every_size_around_a_block() {
    for codec in CODECS {
        for n in [0, 1, 100, 32767, 32768, 32769, 65535, 65536, 65537, 200_000] {
            let bytes = sample(n);
            let packed = compress(codec, &bytes);
            assert_eq!(decompress(codec, &packed, n).unwrap(), bytes, "{codec:?} {n}");
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    for codec in CODECS {
        let packed = compress(codec, &vec![0; 10 << 20]);
        assert_eq!(
            decompress(codec, &packed, 1 << 20),
            Err(Error::InflatesTooMuch {
                codec,
                limit: 1 << 20
            })
        );
    }
}

#[test]
fn a_stream_that_ends_too_early_is_an_error() {
    for codec in CODECS {
        let packed = compress(codec, &sample(100_000));
        for cut in [packed.len() - 1, packed.len() / 2, 17] {
            let got = decompress(codec, &packed[..cut], 1 << 20);
            assert!(matches!(got, Err(Error::Undecodable { .. })), "{codec:?} {cut}");
        }
    }
}

#[test]
fn gzip_header_is_java_s() {
    let packed = compress(Codec::Gzip, b"x");
    assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn gzip_reads_several_members_and_ignores_what_follows() {
    let mut packed = compress(Codec::Gzip, b"one ");
    packed.extend(compress(Codec::Gzip, b"two"));
    packed.extend(b"garbage");
    assert_eq!(decompress(Codec::Gzip, &packed, 100).unwrap(), b"one two");
}

#[test]
fn snappy_accepts_a_bare_block() {
    let bare = snap::raw::Encoder::new()
        .compress_vec(b"hello hello hello")
        .unwrap();
    assert_eq!(
        decompress(Codec::Snappy, &bare, 100).unwrap(),
        b"hello hello hello"
    );
}

#[test]
fn snappy_stream_starts_with_the_header_of_snappy_java() {
    let packed = compress(Codec::Snappy, &sample(40_000));
    assert_eq!(
        packed[..16],
        [
            0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1
        ]
    );
}

#[test]
fn snappy_block_cannot_claim_memory() {
    // A length of 60 MB and nothing behind it.
    let lie = [0x80, 0x8e, 0xce, 0x1c, 0];
    assert!(matches!(
        decompress(Codec::Snappy, &lie, 1 << 30),
        Err(Error::Undecodable { .. })
    ));
}

#[test]
fn lz4_header_carries_the_checksum_of_0_9() {
    let packed = compress(Codec::Lz4, b"x");
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x1a]);
}

#[test]
fn lz4_accepts_either_header_checksum_and_nothing_else() {
    for (flg, bd, broken, right) in [
        (0x60, 0x40, 0x1a, 0x82),
        (0x60, 0x50, 0x77, 0xfb),
        (0x60, 0x60, 0xd6, 0x51),
        (0x60, 0x70, 0x10, 0x73),
        (0x70, 0x40, 0xec, 0xad),
        (0x70, 0x50, 0x34, 0x84),
        (0x70, 0x60, 0xd4, 0x33),
        (0x70, 0x70, 0x49, 0x72),
    ] {
        for hc in [broken, right] {
            let frame = [0x04, 0x22, 0x4d, 0x18, flg, bd, hc, 0, 0, 0, 0];
            assert_eq!(decompress(Codec::Lz4, &frame, 10), Ok(Vec::new()));
        }
        let frame = [0x04, 0x22, 0x4d, 0x18, flg, bd, broken ^ right ^ 1, 0, 0, 0, 0];
        assert!(decompress(Codec::Lz4, &frame, 10).is_err());
    }
}

#[test]
fn lz4_accepts_content_size_block_and_content_checksums() {
    let content = b"stored as it is";
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60 | 0x10 | 8 | 4, 0x40];
    frame.extend((content.len() as u64).to_le_bytes());
    frame.push((xxhash_rust::xxh32::xxh32(&frame[4..], 0) >> 8) as u8);
    frame.extend((content.len() as u32 | 1 << 31).to_le_bytes());
    frame.extend(content);
    let sum = xxhash_rust::xxh32::xxh32(content, 0).to_le_bytes();
    frame.extend(sum);
    frame.extend([0; 4]);
    frame.extend(sum);
    assert_eq!(decompress(Codec::Lz4, &frame, 100).unwrap(), content);
    *frame.last_mut().unwrap() ^= 1;
    assert!(decompress(Codec::Lz4, &frame, 100).is_err());
}
