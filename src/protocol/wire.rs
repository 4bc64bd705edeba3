//! How fields are read and written, and what every message is.

use bytes::{BufMut, Bytes, BytesMut};

use super::Result;
use super::api::ApiKey;
use crate::util::codec::{Error, Reader, put_bytes, put_short_string};

/// How strictly a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Keys 0-9 (kafka.api): a negative string length reads as empty, a negative count as none.
    Scala,
    /// Keys 10-16 and all clients (Schema, Type): negative lengths are errors.
    Java,
}

/// A request's or response's body.
pub trait Body: Sized {
    /// Reads the body of that version; trailing bytes are left unread.
    fn decode(r: &mut Reader, version: i16) -> Result<Self>;
    /// Writes the body of that version.
    fn encode(&self, out: &mut BytesMut, version: i16);
}

/// A request's body, with what it needs to be sent.
pub trait Request: Body {
    /// Its kind.
    const KEY: ApiKey;
    /// The version that 0.9.0.1 clients send: the highest.
    const VERSION: i16;
    /// What comes back.
    type Response: Body;
}

/// A value with one layout in all versions.
pub trait Field: Sized {
    /// Reads it.
    fn read(r: &mut Reader, dialect: Dialect) -> Result<Self>;
    /// Writes it.
    fn write(&self, out: &mut BytesMut);
}

macro_rules! number {
    ($($t:ident $put:ident;)*) => {$(
        impl Field for $t {
            fn read(r: &mut Reader, _: Dialect) -> Result<Self> {
                r.$t()
            }
            fn write(&self, out: &mut BytesMut) {
                out.$put(*self);
            }
        }
    )*};
}
number! { i8 put_i8; i16 put_i16; i32 put_i32; i64 put_i64; }

impl Field for String {
    fn read(r: &mut Reader, dialect: Dialect) -> Result<Self> {
        let at = r.position();
        match r.nullable_short_string()? {
            Some(s) => Ok(s),
            None if dialect == Dialect::Scala => Ok(String::new()),
            None => Err(Error::Length { at, length: -1 }),
        }
    }
    fn write(&self, out: &mut BytesMut) {
        put_short_string(out, Some(self));
    }
}

impl Field for Option<String> {
    fn read(r: &mut Reader, _: Dialect) -> Result<Self> {
        r.nullable_short_string()
    }
    fn write(&self, out: &mut BytesMut) {
        put_short_string(out, self.as_deref());
    }
}

impl Field for Bytes {
    fn read(r: &mut Reader, _: Dialect) -> Result<Self> {
        let at = r.position();
        r.nullable_bytes()?.ok_or(Error::Length { at, length: -1 })
    }
    fn write(&self, out: &mut BytesMut) {
        put_bytes(out, Some(self));
    }
}

/// Reads an array whose elements `item` reads.
pub fn array<T>(
    r: &mut Reader,
    dialect: Dialect,
    mut item: impl FnMut(&mut Reader) -> Result<T>,
) -> Result<Vec<T>> {
    let at = r.position();
    let count = r.i32()?;
    let Ok(count) = usize::try_from(count) else {
        return match dialect {
            Dialect::Scala => Ok(Vec::new()),
            Dialect::Java => Err(Error::Length {
                at,
                length: count.into(),
            }),
        };
    };
    // No element is shorter than a byte; and the vector grows only as elements are read.
    if count > r.remaining() {
        return Err(Error::End {
            at: r.position(),
            needed: count,
            left: r.remaining(),
        });
    }
    let mut items = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        items.push(item(r)?);
    }
    Ok(items)
}

impl<T: Field> Field for Vec<T> {
    fn read(r: &mut Reader, dialect: Dialect) -> Result<Self> {
        array(r, dialect, |r| T::read(r, dialect))
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_i32(i32::try_from(self.len()).expect("arrays are bounded by the caller"));
        for item in self {
            item.write(out);
        }
    }
}

/// Defines structs whose fields are written one after the other.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $t:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $t,)* }

        impl $crate::protocol::wire::Field for $name {
            #[allow(unused_variables)]
            fn read(
                r: &mut $crate::util::codec::Reader,
                dialect: $crate::protocol::wire::Dialect,
            ) -> $crate::protocol::Result<Self> {
                Ok($name { $($field: $crate::protocol::wire::Field::read(r, dialect)?,)* })
            }
            #[allow(unused_variables)]
            fn write(&self, out: &mut bytes::BytesMut) {
                $($crate::protocol::wire::Field::write(&self.$field, out);)*
            }
        }
    )*};
}

/// Makes a struct of `fields!` a body that is the same in all versions.
macro_rules! body {
    ($name:ident, $dialect:ident) => {
        impl $crate::protocol::wire::Body for $name {
            fn decode(r: &mut $crate::util::codec::Reader, _version: i16) -> $crate::protocol::Result<Self> {
                $crate::protocol::wire::Field::read(r, $crate::protocol::wire::Dialect::$dialect)
            }
            fn encode(&self, out: &mut bytes::BytesMut, _version: i16) {
                $crate::protocol::wire::Field::write(self, out);
            }
        }
    };
}

/// Makes a body a request.
macro_rules! request {
    ($request:ident => $response:ident, $key:ident) => {
        impl $crate::protocol::wire::Request for $request {
            const KEY: $crate::protocol::ApiKey = $crate::protocol::ApiKey::$key;
            const VERSION: i16 = match $crate::protocol::ApiKey::$key {
                $crate::protocol::ApiKey::OffsetCommit => 2,
                $crate::protocol::ApiKey::Produce
                | $crate::protocol::ApiKey::Fetch
                | $crate::protocol::ApiKey::UpdateMetadata
                | $crate::protocol::ApiKey::ControlledShutdown
                | $crate::protocol::ApiKey::OffsetFetch => 1,
                _ => 0,
            };
            type Response = $response;
        }
    };
}

pub(super) use {body, fields, request};
