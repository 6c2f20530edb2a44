//! Statuses, as they are asked for.
//!
//! Enters: `404`, `4xx`, `500-599`. Leaves: a range. Never: one that no answer can be in.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// What an answer's status can be.
const POSSIBLE: RangeInclusive<u16> = 100..=999;

/// A range of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

impl Statuses {
    /// Whether the status is one of them.
    pub fn have(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for Statuses {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number =
            |text: &str| text.parse().ok().filter(|_| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()));
        let range = match (text.split_once('-'), text.strip_suffix("xx").or(text.strip_suffix("XX"))) {
            (Some((first, last)), _) => number(first).zip(number(last)),
            (None, Some(hundred)) => number(&format!("{hundred}00")).zip(number(&format!("{hundred}99"))),
            (None, None) => number(text).zip(number(text)),
        };
        let range = range.filter(|(first, last)| first <= last && POSSIBLE.contains(first));
        range.map(|(first, last)| Statuses { first, last }).ok_or("write 404, 4xx or 500-599")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_hundred_or_from_to() {
        let have = |text: &str, status| text.parse::<Statuses>().unwrap().have(status);
        assert!(have("404", 404) && !have("404", 403));
        assert!(have("4xx", 400) && have("4XX", 499) && !have("4xx", 500));
        assert!(have("500-599", 500) && have("500-599", 599) && !have("500-599", 499));
        for bad in ["", "4", "4x", "xx", "4xxx", "40xx", "599-500", "500-", "-500", "+40", "099", "0xx", "ok", "4äx"] {
            assert!(bad.parse::<Statuses>().is_err(), "{bad}");
        }
    }
}
