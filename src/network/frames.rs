//! Bytes to frames, without a socket: one growing buffer per connection.
//!
//! ```text
//! frame = size:i32  payload (size bytes)
//! ```
//!
//! Memory follows the bytes that came, never the size that was claimed: the buffer starts at
//! [`FIRST`] bytes, is given at most [`STEP`] on a claim and doubles from there as it fills.

use bytes::{Buf, BytesMut};

/// What a connection with anything to read gets; not counted against the shared bound.
pub(super) const FIRST: usize = 64 << 10;
/// What a claim alone is worth.
const STEP: usize = 256 << 10;
/// Past this size of frame no more than [`AHEAD`] of its successors is read with it, so that
/// little has to be moved to the buffer's front.
const LARGE: usize = 32 << 10;
const AHEAD: usize = 4 << 10;

/// A size outside what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid receive (size = {size} {} {limit})", if *.size < 0 { "smaller than" } else { "larger than" })]
pub(super) struct BadSize {
    /// As claimed.
    size: i32,
    /// What it broke: 0 or `socket.request.max.bytes`.
    limit: usize,
}

/// The bytes of one connection that are not handed out as frames yet.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    /// What `buffer`'s allocation was asked to be; zero when there is none.
    allocated: usize,
    max: usize,
}

impl Frames {
    /// No bytes and no buffer; frames may be up to `max` bytes.
    pub(super) fn new(max: usize) -> Frames {
        Frames {
            buffer: BytesMut::new(),
            allocated: 0,
            max,
        }
    }

    /// The next frame's payload, or `None` if it is not complete.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, BadSize> {
        match self.claimed()? {
            Some(size) if self.buffer.len() >= 4 + size => {
                self.buffer.advance(4);
                Ok(Some(self.buffer.split_to(size)))
            }
            _ => Ok(None),
        }
    }

    fn claimed(&self) -> Result<Option<usize>, BadSize> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let size = i32::from_be_bytes(*head);
        match usize::try_from(size) {
            Ok(n) if n <= self.max => Ok(Some(n)),
            Ok(_) => Err(BadSize {
                size,
                limit: self.max,
            }),
            Err(_) => Err(BadSize { size, limit: 0 }),
        }
    }

    /// Whether part of a frame is here.
    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How large the buffer must be for the next read; compare with [`allocated`](Self::allocated).
    pub(super) fn wanted(&self) -> usize {
        let size = self.claimed().ok().flatten().unwrap_or(0);
        let whole = 4 + size + if size > LARGE { AHEAD } else { 0 };
        let room = if self.buffer.len() < STEP / 2 {
            STEP
        } else {
            2 * self.buffer.len()
        };
        whole.min(room).max(FIRST)
    }

    /// The size of the buffer.
    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }

    /// Makes the buffer `wanted` bytes large, and returns it with how many bytes to read into it.
    pub(super) fn room(&mut self, wanted: usize) -> (&mut BytesMut, usize) {
        self.allocated = self.allocated.max(wanted);
        let left = self.allocated - self.buffer.len();
        self.buffer.reserve(left);
        let size = self.claimed().ok().flatten().unwrap_or(0);
        let most = if size > LARGE {
            (4 + size + AHEAD).saturating_sub(self.buffer.len()).min(left)
        } else {
            left
        };
        (&mut self.buffer, most)
    }

    /// Gives memory back when a large frame is done: the rest moves to a small buffer. With `idle`
    /// and nothing unread, all of it.
    pub(super) fn trim(&mut self, idle: bool) {
        if self.buffer.is_empty() && (idle || self.allocated > STEP) {
            self.buffer = BytesMut::new();
            self.allocated = 0;
        } else if self.allocated > STEP && self.buffer.len() <= FIRST {
            let mut small = BytesMut::with_capacity(FIRST);
            small.extend_from_slice(&self.buffer);
            self.buffer = small;
            self.allocated = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(frames: &mut Frames, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            while let Some(f) = frames.next().unwrap() {
                out.push(f.to_vec());
            }
            if bytes.is_empty() {
                return out;
            }
            let wanted = frames.wanted();
            let (buffer, most) = frames.room(wanted);
            assert!(most > 0);
            let n = most.min(bytes.len());
            buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
        }
    }

    fn frame(size: usize) -> Vec<u8> {
        let mut f = (size as i32).to_be_bytes().to_vec();
        f.extend((0..size).map(|i| i as u8));
        f
    }

    #[test]
    fn frames_of_all_sizes_come_out_whole_and_in_order() {
        let sizes = [
            0,
            1,
            3,
            5000,
            70_000,
            16_500,
            600_000,
            2,
            32 << 10,
            40_000,
            40_000,
            0,
            1_500_000,
            9,
        ];
        let bytes: Vec<u8> = sizes.iter().flat_map(|s| frame(*s)).collect();
        for piece in [1usize, 7, 4096, 100_000, usize::MAX] {
            let mut frames = Frames::new(2_000_000);
            let mut got = Vec::new();
            let step = piece.min(bytes.len());
            let step = if step == 1 { 97 } else { step };
            for chunk in bytes.chunks(step) {
                got.extend(feed(&mut frames, chunk));
                frames.trim(false);
            }
            assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
            assert!(
                got.iter()
                    .all(|f| f.iter().enumerate().all(|(i, b)| *b == i as u8))
            );
            assert!(!frames.is_partial());
        }
    }

    #[test]
    fn sizes_below_zero_or_above_the_maximum_are_refused_and_the_maximum_is_not() {
        let mut frames = Frames::new(10);
        assert_eq!(feed(&mut frames, &frame(10)).len(), 1);
        frames.room(FIRST).0.extend_from_slice(&11i32.to_be_bytes());
        assert_eq!(
            frames.next().unwrap_err().to_string(),
            "Invalid receive (size = 11 larger than 10)"
        );
        let mut frames = Frames::new(10);
        frames.room(FIRST).0.extend_from_slice(&(-1i32).to_be_bytes());
        assert_eq!(
            frames.next().unwrap_err().to_string(),
            "Invalid receive (size = -1 smaller than 0)"
        );
    }

    #[test]
    fn a_claim_alone_takes_little_memory_and_a_finished_large_frame_gives_it_back() {
        let mut frames = Frames::new(100 << 20);
        feed(&mut frames, &(100i32 << 20).to_be_bytes());
        let wanted = frames.wanted();
        assert_eq!(wanted, STEP);
        feed(&mut frames, &vec![0; 1 << 20]);
        assert!(frames.allocated() <= 2 << 20, "{}", frames.allocated());

        let mut frames = Frames::new(100 << 20);
        assert_eq!(feed(&mut frames, &frame(3 << 20)).len(), 1);
        feed(&mut frames, &[0, 0]);
        frames.trim(false);
        assert_eq!(frames.allocated(), FIRST);
        assert_eq!(feed(&mut frames, &[0, 1, 7]), [[7]]);
        frames.trim(true);
        assert_eq!(frames.allocated(), 0);
    }
}
