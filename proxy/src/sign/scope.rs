//! What a signing key is derived for: a day, a region, a service.
//!
//! Enters: a scope as a signature names it. Leaves: its parts. Never: one with a character in it that could end a part.

use std::fmt;

use super::Unsigned;

/// A scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    text: String,
    ends: [usize; 2],
}

impl Scope {
    /// `DAY/REGION/SERVICE/aws4_request`
    pub(super) fn read(text: &str) -> Result<Self, Unsigned> {
        const REFUSED: Unsigned = Unsigned::Form("its scope is not `DAY/REGION/SERVICE/aws4_request`");
        let parts: Vec<&str> = text.split('/').collect();
        let [day, region, service, "aws4_request"] = parts[..] else { return Err(REFUSED) };
        let word = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if day.len() != 8 || !day.bytes().all(|byte| byte.is_ascii_digit()) || !word(region) || !word(service) {
            return Err(REFUSED);
        }
        let ends = [day.len() + 1 + region.len(), day.len() + 1 + region.len() + 1 + service.len()];
        Ok(Self { text: text.to_owned(), ends })
    }

    /// Day, region and service.
    pub(super) fn parts(&self) -> [&str; 3] {
        let [region, service] = self.ends;
        [&self.text[..8], &self.text[9..region], &self.text[region + 1..service]]
    }

    /// The service.
    pub(super) fn service(&self) -> &str {
        self.parts()[2]
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
