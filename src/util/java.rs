//! What the JVM computes and others rely on.

/// `java.lang.String.hashCode`: over UTF-16 units, wrapping.
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0, |h: i32, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// As Java's `Double.toString`: a decimal point always, an exponent outside 10^-3..10^7.
pub fn double(d: f64) -> String {
    if !d.is_finite() {
        return if d.is_nan() {
            "NaN"
        } else if d > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_string();
    }
    if d == 0.0 || (1e-3..1e7).contains(&d.abs()) {
        return format!("{d:?}");
    }
    let text = format!("{d:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
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

    #[test]
    fn doubles_are_shown_as_on_a_jvm() {
        for (d, text) in [
            (0.0, "0.0"),
            (0.9, "0.9"),
            (1.0, "1.0"),
            (f64::MAX, "1.7976931348623157E308"),
            (1e7, "1.0E7"),
            (0.0005, "5.0E-4"),
            (1234567.5, "1234567.5"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(double(d), text);
        }
    }
}
