//! Checked big-endian reads from bytes that nobody vouches for, and the writes to match.
//!
//! Nothing here allocates on the word of a length: a length is compared with what is there first.

use bytes::{BufMut, Bytes};

/// What was wrong with the bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the field needs.
    #[error("unexpected end at byte {at}: {needed} bytes needed, {left} left")]
    End {
        /// Position of the field in the input.
        at: usize,
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// A length or count below its least legal value.
    #[error("illegal length {length} at byte {at}")]
    Length {
        /// Position of the length in the input.
        at: usize,
        /// The length as read.
        length: i64,
    },
    /// Text that is not UTF-8.
    #[error("text at byte {at} is not UTF-8")]
    Utf8 {
        /// Position of the text in the input.
        at: usize,
    },
    /// A value outside its rule.
    #[error("illegal value {value} of {what} at byte {at}")]
    Value {
        /// Position after the value.
        at: usize,
        /// The field's name.
        what: &'static str,
        /// The value as read.
        value: i64,
    },
}

/// Result of a read.
pub type Result<T> = std::result::Result<T, Error>;

/// A cursor over shared bytes. Slices taken from it share the buffer; nothing is copied.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    /// How many bytes were read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `n` bytes as a slice of the same buffer.
    pub fn take(&mut self, n: usize) -> Result<Bytes> {
        self.need(n)?;
        let slice = self.bytes.slice(self.at..self.at + n);
        self.at += n;
        Ok(slice)
    }

    /// All that is left.
    pub fn rest(&mut self) -> Bytes {
        let slice = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        slice
    }

    fn need(&self, needed: usize) -> Result<()> {
        let left = self.remaining();
        if needed > left {
            return Err(Error::End {
                at: self.at,
                needed,
                left,
            });
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.need(N)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        Ok(out)
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The next `n` bytes as text.
    pub fn text(&mut self, n: usize) -> Result<String> {
        let at = self.at;
        let bytes = self.take(n)?;
        match std::str::from_utf8(&bytes) {
            Ok(s) => Ok(s.to_owned()),
            Err(_) => Err(Error::Utf8 { at }),
        }
    }

    /// A 16-bit length and text; any negative length means null.
    pub fn nullable_short_string(&mut self) -> Result<Option<String>> {
        match usize::try_from(self.i16()?) {
            Ok(n) => self.text(n).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A 32-bit length and bytes; -1 means null.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>> {
        let at = self.at;
        let length = self.i32()?;
        match usize::try_from(length) {
            Ok(n) => self.take(n).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Error::Length {
                at,
                length: length.into(),
            }),
        }
    }
}

/// Writes a 16-bit length and text, or -1 for null.
///
/// # Panics
/// If the text is longer than 32767 bytes; callers bound what they write.
pub fn put_short_string(out: &mut impl BufMut, text: Option<&str>) {
    match text {
        Some(s) => {
            out.put_i16(i16::try_from(s.len()).expect("short strings are bounded by the caller"));
            out.put_slice(s.as_bytes());
        }
        None => out.put_i16(-1),
    }
}

/// Writes a 32-bit length and bytes, or -1 for null.
///
/// # Panics
/// If there are more than 2^31-1 bytes.
pub fn put_bytes(out: &mut impl BufMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(b) => {
            out.put_i32(i32::try_from(b.len()).expect("byte fields are bounded by the caller"));
            out.put_slice(b);
        }
        None => out.put_i32(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_past_the_end_is_an_error_and_allocates_nothing() {
        let mut r = Reader::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1]));
        assert_eq!(
            r.nullable_bytes(),
            Err(Error::End {
                at: 4,
                needed: 0x7fff_ffff,
                left: 1
            })
        );
        let mut r = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]));
        assert!(matches!(
            r.nullable_bytes(),
            Err(Error::Length { length: -2, .. })
        ));
    }
}
