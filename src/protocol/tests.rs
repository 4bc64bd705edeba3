//! The wire, against bytes known from 0.9.0.1 and against an independent codec (kafka-protocol).

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as peer;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::*;
use crate::util::codec::Reader;

fn body_bytes<B: Body>(body: &B, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    body.encode(&mut out, version);
    out.freeze()
}

fn back<B: Body>(bytes: &Bytes, version: i16) -> B {
    let mut r = Reader::new(bytes.clone());
    let body = B::decode(&mut r, version).unwrap();
    assert_eq!(r.remaining(), 0);
    body
}

#[test]
fn fetch_request_is_what_an_independent_codec_reads_and_writes() {
    let ours = fetch::FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        topics: vec![fetch::FetchTopic {
            topic: "t".into(),
            partitions: vec![fetch::FetchPartition {
                partition: 3,
                fetch_offset: 1 << 40,
                max_bytes: 1024,
            }],
        }],
    };
    let bytes = body_bytes(&ours, 1);
    let theirs = peer::FetchRequest::decode(&mut bytes.clone(), 1).unwrap();
    assert_eq!(theirs.max_wait_ms, 100);
    assert_eq!(theirs.topics[0].partitions[0].fetch_offset, 1 << 40);
    let mut again = BytesMut::new();
    theirs.encode(&mut again, 1).unwrap();
    assert_eq!(again.freeze(), bytes);
    assert_eq!(back::<fetch::FetchRequest>(&bytes, 1), ours);
}

#[test]
fn metadata_response_is_what_an_independent_codec_reads() {
    let ours = metadata::MetadataResponse {
        brokers: vec![metadata::MetadataBroker {
            node_id: 1,
            host: "h".into(),
            port: 9092,
        }],
        topics: vec![metadata::MetadataTopic {
            error: 0,
            topic: "t".into(),
            partitions: vec![metadata::MetadataPartition {
                error: 9,
                partition: 0,
                leader: 1,
                replicas: vec![1, 2],
                isr: vec![1],
            }],
        }],
    };
    let bytes = body_bytes(&ours, 0);
    let theirs = peer::MetadataResponse::decode(&mut bytes.clone(), 0).unwrap();
    assert_eq!(theirs.brokers[0].port, 9092);
    assert_eq!(theirs.topics[0].partitions[0].error_code, 9);
    assert_eq!(back::<metadata::MetadataResponse>(&bytes, 0), ours);
}

#[test]
fn offset_commit_places_its_versions_fields_as_an_independent_codec_does() {
    let ours = offset_commit::OffsetCommitRequest {
        group_id: "g".into(),
        generation_id: 4,
        member_id: "m".into(),
        retention_time_ms: 77,
        topics: vec![offset_commit::OffsetCommitTopic {
            topic: "t".into(),
            partitions: vec![offset_commit::OffsetCommitPartition {
                partition: 1,
                offset: 5,
                timestamp: -1,
                metadata: Some("x".into()),
            }],
        }],
    };
    let bytes = body_bytes(&ours, 2);
    let theirs = peer::OffsetCommitRequest::decode(&mut bytes.clone(), 2).unwrap();
    assert_eq!(theirs.retention_time_ms, 77);
    assert_eq!(theirs.topics[0].partitions[0].committed_offset, 5);
    assert_eq!(back::<offset_commit::OffsetCommitRequest>(&bytes, 2), ours);
    let v0 = back::<offset_commit::OffsetCommitRequest>(&body_bytes(&ours, 0), 0);
    assert_eq!((v0.generation_id, v0.member_id.as_str()), (-1, ""));
    assert_eq!(body_bytes(&ours, 1).len(), body_bytes(&ours, 2).len());
}

#[test]
fn update_metadata_v1_writes_the_port_before_the_host() {
    let ours = update_metadata::UpdateMetadataRequest {
        controller_id: 0,
        controller_epoch: 1,
        partitions: vec![],
        brokers: vec![update_metadata::UpdateMetadataBroker {
            id: 2,
            endpoints: vec![update_metadata::UpdateMetadataEndPoint {
                port: 9092,
                host: "h".into(),
                protocol: 0,
            }],
        }],
    };
    let v1 = body_bytes(&ours, 1);
    assert_eq!(
        &v1[12..],
        b"\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\x23\x84\0\x01h\0\0"
    );
    assert_eq!(back::<update_metadata::UpdateMetadataRequest>(&v1, 1), ours);
    let v0 = body_bytes(&ours, 0);
    assert_eq!(&v0[12..], b"\0\0\0\x01\0\0\0\x02\0\x01h\0\0\x23\x84");
    assert_eq!(back::<update_metadata::UpdateMetadataRequest>(&v0, 0), ours);
}

#[test]
fn controlled_shutdown_v0_has_no_client_id() {
    let request = controlled_shutdown::ControlledShutdownRequest { broker_id: 9 };
    let v0 = frame_request(&request, 0, 5, Some("ignored"));
    assert_eq!(&v0[..], b"\0\0\0\x0c\0\x07\0\0\0\0\0\x05\0\0\0\x09");
    let mut r = Reader::new(v0.freeze().slice(4..));
    assert_eq!(RequestHeader::decode(&mut r).unwrap().client_id, None);
    assert_eq!(r.i32(), Ok(9));
}

#[test]
fn a_client_id_names_a_registration() {
    use registration::{client_id, named};
    assert_eq!(client_id(1, 42), "1-registered-2a");
    assert_eq!(named(&client_id(1, i64::MAX)), Some(i64::MAX));
    for genuine in ["1", "", "-registered-", "x-registered-y"] {
        assert_eq!(named(genuine), None, "{genuine}");
    }
}

#[test]
fn null_client_id_is_legal_for_old_keys_and_refused_for_new_ones() {
    let header = |key: i16| {
        let mut b = BytesMut::new();
        RequestHeader {
            key,
            version: 0,
            correlation_id: 1,
            client_id: None,
        }
        .encode(&mut b);
        RequestHeader::decode(&mut Reader::new(b.freeze()))
    };
    assert!(header(3).is_ok());
    assert!(header(10).is_err());
}

#[test]
fn negative_lengths_read_as_empty_in_scala_and_as_errors_in_java() {
    let minus_one = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(back::<metadata::MetadataRequest>(&minus_one, 0).topics.len(), 0);
    let mut r = Reader::new(minus_one);
    assert!(groups::DescribeGroupsRequest::decode(&mut r, 0).is_err());
}

#[test]
fn a_count_beyond_the_frame_is_refused_before_anything_is_kept() {
    let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    assert!(metadata::MetadataRequest::decode(&mut Reader::new(huge), 0).is_err());
}

#[test]
fn owned_produce_splits_the_frame_without_copying() {
    let request = produce::ProduceRequest {
        acks: -1,
        timeout_ms: 10,
        topics: vec![produce::ProduceTopic {
            topic: "t".into(),
            partitions: vec![
                produce::ProducePartition {
                    partition: 0,
                    records: Bytes::from_static(b"abc"),
                },
                produce::ProducePartition {
                    partition: 1,
                    records: Bytes::from_static(b"de"),
                },
            ],
        }],
    };
    let mut body = BytesMut::new();
    request.encode(&mut body, 1);
    let range = body.as_ptr_range();
    let owned = produce::ProduceRequest::decode_owned(body.clone()).unwrap();
    assert_eq!((owned.acks, owned.timeout_ms, owned.topics.len()), (-1, 10, 1));
    let owned = produce::ProduceRequest::decode_owned(body).unwrap();
    let sets = &owned.topics[0].partitions;
    assert_eq!((&sets[0].1[..], &sets[1].1[..]), (&b"abc"[..], &b"de"[..]));
    assert!(range.contains(&sets[1].1.as_ptr()));
    let mut cut = BytesMut::new();
    request.encode(&mut cut, 1);
    for length in 0..cut.len() {
        assert!(produce::ProduceRequest::decode_owned(BytesMut::from(&cut[..length])).is_err());
    }
}
