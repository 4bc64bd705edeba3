//! What stands before every request's body.

use bytes::{BufMut, BytesMut};

use super::Result;
use super::api::ApiKey;
use crate::util::codec::{Reader, put_short_string};

/// A request's header, as read; the key and version need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which request; see [`ApiKey::from_i16`].
    pub key: i16,
    /// Which layout of it.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// Who asks; null is legal for keys 0-9, and always so for ControlledShutdown v0.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header and leaves the reader at the body.
    ///
    /// ControlledShutdown v0 has no client id at all. Keys 10-16 refuse a null client id.
    pub fn decode(r: &mut Reader) -> Result<RequestHeader> {
        let key = r.i16()?;
        let version = r.i16()?;
        let correlation_id = r.i32()?;
        let client_id = if key == ApiKey::ControlledShutdown as i16 && version == 0 {
            None
        } else {
            let at = r.position();
            let client_id = r.nullable_short_string()?;
            if client_id.is_none() && key >= ApiKey::GroupCoordinator as i16 {
                return Err(super::Error::Length { at, length: -1 });
            }
            client_id
        };
        Ok(RequestHeader {
            key,
            version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_i16(self.key);
        out.put_i16(self.version);
        out.put_i32(self.correlation_id);
        if !(self.key == ApiKey::ControlledShutdown as i16 && self.version == 0) {
            put_short_string(out, self.client_id.as_deref());
        }
    }
}
