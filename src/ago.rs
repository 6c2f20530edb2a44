//! How long ago, as an operator writes it.
//!
//! Enters: a text. Leaves: a length of time, at least a second and at most ten years. Never: a day that depends on where one is: it has 24
//! hours.

use jiff::{SignedDuration, Timestamp};

use crate::report::Report;

/// Nobody keeps logs for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);

/// `30d`, or what jiff reads: `12h`, `1h30m`, `15m`, `10s`.
pub fn ago(text: &str) -> Option<SignedDuration> {
    let length = match text.strip_suffix('d') {
        Some(days) if days.bytes().all(|byte| byte.is_ascii_digit()) => {
            SignedDuration::try_from_hours(days.parse::<i64>().ok()?.checked_mul(24)?)?
        }
        _ => text.parse().ok()?,
    };
    (SignedDuration::from_secs(1)..=LONGEST).contains(&length).then_some(length)
}

/// A time as RFC 3339 writes it, or how long ago.
///
/// # Errors
/// When it is neither.
pub fn since(text: &str) -> Result<Timestamp, Report> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    match ago(text) {
        Some(ago) => Ok(Timestamp::now().checked_sub(ago)?),
        None => Err(Report::new(format!("`{text}` is not a time")).hint("write 2026-01-31T12:00:00Z, or 15m, 2h, 1d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_how_long_ago() {
        assert_eq!(since("1970-01-01T00:00:00Z").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(since("15m").unwrap() < Timestamp::now());
        assert!(since("yesterday-ish").is_err());
    }

    #[test]
    fn days_have_24_hours_and_what_is_no_length_is_none() {
        for (text, seconds) in [("30d", 2_592_000), ("12h", 43_200), ("1h30m", 5400), ("15m", 900), ("1s", 1)] {
            assert_eq!(ago(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in ["", "d", "0d", "-1d", "30", "30 d", "-5m", "99999999d", "9223372036854775807d", "4294967295h", "3ö"]
        {
            assert!(ago(bad).is_none(), "{bad}");
        }
    }
}
