//! Times as people read them.

use super::clock::WallMs;

/// A time as Java's `Date` prints it, in the local zone: `Thu Jan 01 00:00:00 UTC 1970`. Beyond the years
/// that the zone's rules cover, the milliseconds.
pub fn long(at: WallMs) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(at.0) else {
        return format!("{} ms", at.0);
    };
    let zone = jiff::tz::TimeZone::system();
    let there = zone.to_offset_info(time);
    let local = there.offset().to_datetime(time);
    let front = local.strftime("%a %b %d %H:%M:%S");
    format!("{front} {} {}", there.abbreviation(), local.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_text() {
        assert!(long(WallMs(i64::MIN)).ends_with(" ms"));
        assert!(
            ["1969", "1970"].contains(&&long(WallMs(0))[long(WallMs(0)).len() - 4..]),
            "{}",
            long(WallMs(0))
        );
    }
}
