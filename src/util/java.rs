//! What the JVM computes and others rely on.

/// `java.lang.String.hashCode`: over UTF-16 units, wrapping.
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0, |h: i32, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hash_as_on_a_jvm() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("[a,0]"), 86_974_003);
        assert_eq!(string_hash("[b,0]"), 87_003_794);
        assert_eq!(string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(string_hash("\u{1F600}"), 1_772_899);
    }
}
