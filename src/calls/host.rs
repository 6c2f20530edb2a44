//! A host, as it is asked for.
//!
//! Enters: what a rule may have under `to`. Leaves: whether a destination in the log is one of those. Never: half a name: `ample.com` is not
//! `example.com`.

use std::str::FromStr;

use config::{Destination, Malformed, Pattern};

/// HTTPS, as where a rule says nothing.
const PORT: u16 = 443;

/// Hosts, on every port or on one.
#[derive(Debug, Clone)]
pub struct HostFilter(Pattern);

impl HostFilter {
    /// Whether what the log has under `to` is one of them.
    pub fn has(&self, to: &str) -> bool {
        Destination::parse_authority(to, PORT).is_ok_and(|destination| self.0.matches(&destination))
    }
}

impl FromStr for HostFilter {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Pattern::parse_denied(text).map(HostFilter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_whole_name_or_what_is_below_one_or_addresses() {
        let has = |text: &str, to: &str| text.parse::<HostFilter>().unwrap().has(to);
        assert!(has("API.example.com", "api.example.com:443") && has("api.example.com", "api.example.com:8443"));
        assert!(!has("ample.com", "example.com:443") && !has("api.example.com:80", "api.example.com:443"));
        assert!(has("*.example.com", "a.b.example.com:443") && !has("*.example.com", "example.com:443"));
        assert!(has("2001:db8::1", "[2001:db8::1]:443") && !has("2001:db8::", "[2001:db8::1]:443"));
        assert!(has("10.0.0.0/8", "10.9.8.7:22") && !has("10.0.0.0/8", "11.0.0.1:22"));
        assert!(!has("example.com", "") && !has("example.com", "not a destination"));
        assert!("".parse::<HostFilter>().is_err() && "a b".parse::<HostFilter>().is_err());
    }
}
