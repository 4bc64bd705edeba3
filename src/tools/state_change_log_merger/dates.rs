//! The dates of log lines, read as leniently as Java's SimpleDateFormat reads them: a thirteenth month is
//! the first of the next year. Knows no time zone: all are of the same one.

/// How a date looks.
pub(super) const FORMAT: &str = "yyyy-MM-dd HH:mm:ss,SSS";

/// As a regular expression.
pub(super) const DATE: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}";

/// Milliseconds since the year 0, by the proleptic calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// Reads a date at the beginning of `text`; what follows does not matter, numbers may have any
    /// length. `None` if it has another form.
    pub(super) fn parse(text: &str) -> Option<Moment> {
        let mut rest = text;
        let mut numbers = [0i64; 7];
        for (number, end) in numbers.iter_mut().zip(["-", "-", " ", ":", ":", ",", ""]) {
            rest = rest.trim_start_matches([' ', '\t']);
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            *number = rest[..digits].parse().ok().filter(|n| *n < 1_000_000_000)?;
            rest = rest[digits..].strip_prefix(end)?;
        }
        let [year, month, day, hours, minutes, seconds, millis] = numbers;
        let months = year * 12 + month - 1;
        let days = days_before(months.div_euclid(12), months.rem_euclid(12)) + day;
        Some(Moment(
            (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis,
        ))
    }
}

/// Days from the year 0 to the first of a month, January being 0.
fn days_before(year: i64, month: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_ordered_and_lenient() {
        let parse = |text| Moment::parse(text).unwrap();
        let ordered = [
            "0000-00-00 00:00:00,000",
            "2015-12-31 23:59:59,999",
            "2016-02-28 10:00:00,5",
            "2016-02-29 09:59:59,999",
            "2016-03-01 00:00:00,000",
            "9999-12-31 23:59:59,999",
        ];
        assert!(ordered.map(parse).is_sorted());
        for (lenient, plain) in [
            ("2015-13-01 00:00:00,000", "2016-01-01 00:00:00,000"),
            ("2016-02-30 24:00:00,000", "2016-03-02 00:00:00,000"),
            ("2016-1-1 0:0:0,1000 and more", "2016-01-01 00:00:01,000"),
        ] {
            assert_eq!(parse(lenient), parse(plain), "{lenient}");
        }
        for bad in ["", "2016", "2016-01-01", "2016-01-01 00:00:00.000", "x"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }
}
