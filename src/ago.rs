//! How long ago, as an operator writes it.
//!
//! Enters: a text. Leaves: a length of time, at least a second and at most ten years. Never: a day that depends on where one is: it has 24
//! hours.

use jiff::SignedDuration;

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

#[cfg(test)]
mod tests {
    use super::ago;

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
