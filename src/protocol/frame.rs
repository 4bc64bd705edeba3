//! Whole frames, the 4-byte size included.

use bytes::{BufMut, BytesMut};

use super::header::RequestHeader;
use super::wire::{Body, Request};

/// The frame of a request: size, header, body.
pub fn frame_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    let header = RequestHeader {
        key: R::KEY as i16,
        version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    header.encode(&mut out);
    request.encode(&mut out, version);
    finish_frame(&mut out, 0);
    out
}

/// The frame of a response: size, correlation id, body.
pub fn frame_response<B: Body>(body: &B, version: i16, correlation_id: i32) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    out.put_i32(correlation_id);
    body.encode(&mut out, version);
    finish_frame(&mut out, 0);
    out
}

/// Fills in the size of a frame that starts with four bytes kept free for it, counting `more` bytes
/// that follow elsewhere.
///
/// # Panics
/// If the frame is shorter than its size field, or longer than 2^31-1; callers bound what they send.
pub fn finish_frame(frame: &mut BytesMut, more: usize) {
    let size = i32::try_from(frame.len() - 4 + more).expect("frames are bounded by the caller");
    frame[..4].copy_from_slice(&size.to_be_bytes());
}
