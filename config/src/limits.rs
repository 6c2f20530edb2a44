//! How much and how long: rates, sizes and durations as a person writes them.
//!
//! Enters: `10/s`, `2GiB`, `30m`. Leaves: numbers in one unit. Never: a zero, a fraction, a unit left to guess.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// So many requests per so long; as many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    requests: NonZeroU32,
    per: Duration,
}

const RATE_UNITS: [(&str, u64); 3] = [("s", 1), ("min", 60), ("h", 3600)];
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

impl Rate {
    /// How many requests; also how many may come at once.
    pub fn requests(&self) -> NonZeroU32 {
        self.requests
    }

    /// In how long.
    pub fn per(&self) -> Duration {
        self.per
    }
}

impl FromStr for Rate {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parts = text.split_once('/').and_then(|(requests, unit)| {
            let requests = NonZeroU32::new(u32::try_from(number(requests)?).ok()?)?;
            let (_, seconds) = RATE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
            Some(Self { requests, per: Duration::from_secs(seconds) })
        });
        parts.ok_or_else(|| {
            let hint = "write requests per `s`, `min` or `h`, at least one: `10/s`, `600/min`";
            Malformed::new(format!("{} is not a rate", quoted(text)), hint)
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = RATE_UNITS.iter().find(|(_, seconds)| *seconds == self.per.as_secs()).map_or("s", |(name, _)| name);
        write!(f, "{}/{unit}", self.requests)
    }
}

travels_as_text!(Rate);

/// `2GiB` in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, Malformed> {
    in_units(text, &SIZE_UNITS).ok_or_else(|| {
        let hint = "write a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`: `512MiB`";
        Malformed::new(format!("{} is not a size", quoted(text)), hint)
    })
}

/// `30m` as a duration.
///
/// # Errors
/// For any other text.
pub fn parse_duration(text: &str) -> Result<Duration, Malformed> {
    in_units(text, &TIME_UNITS).map(Duration::from_secs).ok_or_else(|| {
        let hint = "write a whole number with `s`, `m`, `h` or `d`: `30m`";
        Malformed::new(format!("{} is not a duration", quoted(text)), hint)
    })
}

fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    number(digits)?.checked_mul(*size).filter(|&total| total > 0)
}

/// Digits only: no sign, no leading zero.
fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_sizes_and_durations_are_read() {
        for text in ["10/s", "600/min", "5000/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("600/min".parse::<Rate>().unwrap().per(), Duration::from_secs(60));
        assert_eq!(parse_size("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_size("1B").unwrap(), 1);
        assert_eq!(parse_duration("30m").unwrap(), Duration::from_secs(1800));
        assert_eq!(parse_duration("1d").unwrap(), Duration::from_secs(86_400));
    }

    #[test]
    fn zeros_signs_fractions_and_unknown_units_are_refused() {
        for text in
            ["", "0/s", "/s", "10", "10/", "10/m", "1.5/s", "+1/s", "-1/s", "01/s", "4294967296/s", "1/s/s", "１/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text:?} was taken");
        }
        for text in ["", "0B", "1", "1gib", "1GB", "1 GiB", "1.5GiB", "-1B", "99999999999TiB", "GiB", "1GiB "] {
            assert!(parse_size(text).is_err(), "{text:?} was taken");
        }
        for text in ["", "0s", "30", "30min", "1h30m", "-1s", "1ms", "999999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }
}
