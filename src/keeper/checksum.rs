//! Adler-32, the checksum of ZooKeeper's logs and snapshots. Knows no file.

/// A running Adler-32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adler32 {
    a: u32,
    b: u32,
}

impl Default for Adler32 {
    fn default() -> Adler32 {
        Adler32 { a: 1, b: 0 }
    }
}

impl Adler32 {
    /// Takes in more bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        /// As many bytes as can be summed before 32 bits overflow.
        const UNREDUCED: usize = 5552;
        for chunk in bytes.chunks(UNREDUCED) {
            for byte in chunk {
                self.a += u32::from(*byte);
                self.b += self.a;
            }
            self.a %= 65521;
            self.b %= 65521;
        }
    }

    /// The checksum of all bytes so far, as the 64-bit value that is stored.
    pub(super) fn value(self) -> i64 {
        i64::from(self.b) << 16 | i64::from(self.a)
    }
}

/// The checksum of `bytes`.
pub(super) fn adler32(bytes: &[u8]) -> i64 {
    let mut sum = Adler32::default();
    sum.update(bytes);
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_example() {
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
        assert_eq!(adler32(b""), 1);
    }

    #[test]
    fn parts_sum_as_the_whole() {
        let bytes = vec![0xff; 20_000];
        let mut parts = Adler32::default();
        parts.update(&bytes[..7]);
        parts.update(&bytes[7..]);
        assert_eq!(parts.value(), adler32(&bytes));
    }
}
