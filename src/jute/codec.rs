//! How values lie in bytes: all integers big-endian; buffers, texts and vectors after a 32-bit
//! length, of which -1 means null. Nothing is allocated on the word of a length.
//!
//! Texts are read leniently, as Java does: a byte that is not UTF-8 becomes U+FFFD. Such a text
//! fails the rules for paths later; here it must not cost the whole packet.

use bytes::{BufMut, Bytes, BytesMut};

pub use crate::util::codec::{Error, Reader, Result};

/// A value with a place in a packet.
pub trait Record: Sized {
    /// Reads one from the front of `r`.
    ///
    /// # Errors
    /// If the bytes end early or a length is not legal; also for null where the type has no null.
    fn read(r: &mut Reader) -> Result<Self>;

    /// Appends it to `out`.
    fn write(&self, out: &mut BytesMut);

    /// Reads one from the front of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// As [`Record::read`].
    fn parse(bytes: Bytes) -> Result<Self> {
        Self::read(&mut Reader::new(bytes))
    }

    /// Its bytes.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }
}

/// Builds one packet: the length, then what `fill` appends.
///
/// # Panics
/// If `fill` appends more than 2^31-1 bytes.
pub fn frame(fill: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::with_capacity(128);
    out.put_i32(0);
    fill(&mut out);
    let len = i32::try_from(out.len() - 4).expect("a packet is far below 2 GiB");
    out[..4].copy_from_slice(&len.to_be_bytes());
    out
}

impl Record for bool {
    fn read(r: &mut Reader) -> Result<bool> {
        Ok(r.i8()? != 0)
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

impl Record for i32 {
    fn read(r: &mut Reader) -> Result<i32> {
        r.i32()
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(*self);
    }
}

impl Record for i64 {
    fn read(r: &mut Reader) -> Result<i64> {
        r.i64()
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i64(*self);
    }
}

/// A buffer that may be null.
impl Record for Option<Bytes> {
    fn read(r: &mut Reader) -> Result<Option<Bytes>> {
        r.nullable_bytes()
    }
    fn write(&self, out: &mut BytesMut) {
        crate::util::codec::put_bytes(out, self.as_deref());
    }
}

/// A text that is not null.
impl Record for String {
    fn read(r: &mut Reader) -> Result<String> {
        let at = r.position();
        match r.nullable_bytes()? {
            Some(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            None => Err(Error::Length { at, length: -1 }),
        }
    }
    fn write(&self, out: &mut BytesMut) {
        put_text(out, self);
    }
}

/// A vector that is not null. A count below -1 reads as empty, as in Java.
impl<T: Record> Record for Vec<T> {
    fn read(r: &mut Reader) -> Result<Vec<T>> {
        let at = r.position();
        let count = r.i32()?;
        if count == -1 {
            return Err(Error::Length { at, length: -1 });
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::read(r)?);
        }
        Ok(items)
    }
    fn write(&self, out: &mut BytesMut) {
        put_count(out, self.len());
        for item in self {
            item.write(out);
        }
    }
}

/// Appends a text with its length.
pub fn put_text(out: &mut BytesMut, text: &str) {
    crate::util::codec::put_bytes(out, Some(text.as_bytes()));
}

/// Appends the count of a vector.
///
/// # Panics
/// If there are more than 2^31-1 items.
pub fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("vectors are far below 2^31 items"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_buffers_differ() {
        let null: Option<Bytes> = None;
        assert_eq!(&null.to_bytes()[..], [255; 4]);
        assert_eq!(&Some(Bytes::new()).to_bytes()[..], [0; 4]);
        assert_eq!(Option::<Bytes>::parse(Bytes::from_static(&[255; 4])), Ok(None));
    }

    #[test]
    fn a_huge_count_fails_without_allocating() {
        let bytes = Bytes::from_static(&[0x7f, 255, 255, 255, 0, 0, 0, 0]);
        assert!(matches!(Vec::<String>::parse(bytes), Err(Error::End { .. })));
    }

    #[test]
    fn bad_utf8_becomes_the_replacement_character() {
        let bytes = Bytes::from_static(&[0, 0, 0, 2, b'/', 0xff]);
        assert_eq!(String::parse(bytes).unwrap(), "/\u{fffd}");
    }

    #[test]
    fn a_frame_begins_with_the_length_of_the_rest() {
        assert_eq!(&frame(|out| 7i32.write(out))[..], [0, 0, 0, 4, 0, 0, 0, 7]);
    }
}
