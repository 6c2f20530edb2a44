//! An access that comes with the time of its end, as GitHub and Google write it (RFC 3339).
//!
//! Enters: an endpoint's fields, taken as hostile. Leaves: the same with its times by this machine's clock, or why it cannot be used.
//! Never: a life longer than its kind has, whatever the endpoint or a clock says.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Issued;
use super::authorization_server::MAX_ACCESS_TOKEN;
use crate::secret::Secret;

/// A time with nanoseconds and an offset has 35 characters.
const MAX_TIME: usize = 64;

/// What was `asked` for at that time and ends at `until`. Nothing is assumed of its look but that a header takes it.
pub(super) fn issued(
    access: Secret,
    until: &str,
    asked: SystemTime,
    longest: Duration,
) -> Result<Issued, &'static str> {
    if !(1..=MAX_ACCESS_TOKEN).contains(&access.expose().len()) {
        return Err("the access in it is empty or longer than 16 KiB");
    }
    if !access.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the access in it has characters that no header takes");
    }
    let until: Timestamp =
        Some(until).filter(|until| until.len() <= MAX_TIME).and_then(|until| until.parse().ok()).ok_or(NOT_A_TIME)?;
    let until = SystemTime::try_from(until).map_err(|_| NOT_A_TIME)?;
    let left = until.duration_since(asked).unwrap_or_default();
    if left.is_zero() {
        return Err("it has run out already; are this machine's clock and the endpoint's apart?");
    }
    let life = left.min(longest);
    Ok(Issued { secret: access, receipt: None, expires: Some(asked + life), refresh: asked + life * 4 / 5 })
}

const NOT_A_TIME: &str = "the time of its end is not one of RFC 3339";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// 2026-01-01T00:00:00Z
    fn asked() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn life(until: &str) -> Result<Duration, &'static str> {
        let issued = issued(Secret::new("x"), until, asked(), HOUR)?;
        let life = issued.expires.unwrap().duration_since(asked()).unwrap();
        assert_eq!(issued.refresh, asked() + life * 4 / 5);
        Ok(life)
    }

    #[test]
    fn it_ends_when_it_says_and_no_later_than_its_kind_does() {
        assert_eq!(life("2026-01-01T00:15:00Z"), Ok(HOUR / 4));
        assert_eq!(life("2026-01-01T01:15:00.000000001+01:00"), Ok(HOUR / 4 + Duration::from_nanos(1)));
        for late in ["2026-01-01T01:05:00Z", "9999-12-30T22:00:00Z"] {
            assert_eq!(life(late), Ok(HOUR), "{late}");
        }
        for over in ["2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "0001-01-01T00:00:00Z"] {
            assert!(life(over).is_err_and(|reason| reason.contains("clock")), "{over}");
        }
        for bad in ["", "soon", "2026-01-01", "2026-01-01T00:15:00", "1767225600", &"2".repeat(100)] {
            assert_eq!(life(bad), Err(NOT_A_TIME), "{bad}");
        }
    }

    #[test]
    fn any_look_that_a_header_takes_will_do() {
        let with = |access: String| issued(Secret::new(access), "2026-01-01T00:15:00Z", asked(), HOUR);
        for good in ["x".to_owned(), format!("ghs_1_eyJ{}", "a.~+/=".repeat(1000))] {
            assert_eq!(with(good.clone()).unwrap().secret.expose(), good);
        }
        for bad in ["".to_owned(), "a b".to_owned(), "a\nb".to_owned(), "ä".to_owned(), "a".repeat(16 * 1024 + 1)] {
            assert!(with(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_it_neither_panics_nor_lives_too_long(access in ".{0,20}", until in "[0-9TZ:+. -]{0,40}|.{0,40}") {
            if let Ok(issued) = issued(Secret::new(access), &until, asked(), HOUR) {
                let expires = issued.expires.unwrap();
                prop_assert!(asked() < expires && expires <= asked() + HOUR && issued.refresh <= expires);
            }
        }
    }
}
