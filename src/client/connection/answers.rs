//! What comes in over one connection: frames, each the answer to the oldest request.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::super::in_flight::Mismatch;
use super::{Error, Result, Shared};

/// The room for the first bytes of an answer: most are smaller and come in one read.
const FIRST: usize = 4 * 1024;

/// The most that a buffer grows ahead of the bytes that have really come.
const READ_AHEAD: usize = 64 * 1024;

/// Hands each answer to the request that it belongs to, until the connection ends.
pub(super) async fn read_answers(mut socket: OwnedReadHalf, shared: Arc<Shared>) {
    let mut stop = shared.broken.stop();
    let mut buffer = BytesMut::new();
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut socket, &mut buffer, &shared) => frame,
            () = stop.wait() => return,
        };
        let mut frame = match frame {
            Ok(frame) => frame,
            Err(e) => return shared.fail(e),
        };
        let id = frame.get_i32();
        if let Err(mismatch) = shared.in_flight.answer(id, frame) {
            return shared.fail(Error::OutOfOrder {
                peer: shared.peer.clone(),
                got: id,
                expected: match mismatch {
                    Mismatch::Unasked => "nothing".to_owned(),
                    Mismatch::Expected(id) => id.to_string(),
                },
            });
        }
    }
}

/// The next frame without its size, at least four bytes long.
async fn read_frame(socket: &mut OwnedReadHalf, buffer: &mut BytesMut, shared: &Shared) -> Result<Bytes> {
    let limit = shared.settings.max_response_bytes;
    fill(socket, buffer, 4, shared).await?;
    let claimed = buffer.get_i32();
    let size = match usize::try_from(claimed) {
        Ok(n) if (4..=limit).contains(&n) => n,
        _ => {
            return Err(Error::Size {
                peer: shared.peer.clone(),
                size: claimed,
                limit,
            });
        }
    };
    fill(socket, buffer, size, shared).await?;
    Ok(buffer.split_to(size).freeze())
}

/// Reads until the buffer holds `size` bytes. It grows with what has come, not with what is claimed.
async fn fill(socket: &mut OwnedReadHalf, buffer: &mut BytesMut, size: usize, shared: &Shared) -> Result<()> {
    while buffer.len() < size {
        let missing = size - buffer.len();
        buffer.reserve(missing.min(READ_AHEAD.max(buffer.len())).max(FIRST));
        match socket.read_buf(buffer).await {
            Ok(0) => {
                return Err(Error::Closed {
                    peer: shared.peer.clone(),
                });
            }
            Ok(_) => {}
            Err(e) => return Err(shared.io(e)),
        }
    }
    Ok(())
}
