//! Where a URL in somebody's file leads.
//!
//! Enters: text that claims to be a URL. Leaves: scheme, destination and path. Never: user, password, query or fragment of it: what is
//! secret in a URL is in these, and they are dropped before anything else looks.

use std::fmt;

use config::{Destination, Host, Scheme};

/// A place on the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    plain: bool,
    pub(super) destination: Destination,
    /// Without the slash at its end.
    pub(super) path: String,
}

impl Place {
    /// Reads `https://…` or `http://…`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let plain = match scheme.to_ascii_lowercase().as_str() {
            "https" => false,
            "http" => true,
            _ => return None,
        };
        Self::read(plain, rest)
    }

    /// Reads what is behind the scheme.
    pub(super) fn read(plain: bool, rest: &str) -> Option<Self> {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        let scheme = if plain { Scheme::Http } else { Scheme::Https };
        let destination = Destination::parse_authority(authority, scheme.default_port()).ok()?;
        let path = path.split(['?', '#', '\\']).next().unwrap_or_default().trim_end_matches('/').to_owned();
        Some(Self { plain, destination, path })
    }

    /// A place of HTTPS by its host.
    pub(super) fn of(host: &str) -> Option<Self> {
        Self::read(false, host)
    }

    /// The same host where HTTPS is, whatever port its SSH has.
    pub(super) fn over_https(self) -> Self {
        Self { plain: false, destination: Destination::new(self.destination.host().clone(), 443), ..self }
    }

    /// Its host and port alone.
    pub(super) fn without_path(self) -> Self {
        Self { path: String::new(), ..self }
    }

    /// Whether it is reached without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it is this machine itself, which inside a sandbox is the sandbox.
    pub(super) fn is_here(&self) -> bool {
        match self.destination.host() {
            Host::Name(name) => name.as_str() == "localhost" || name.as_str().ends_with(".localhost"),
            Host::Address(address) => address.is_loopback() || address.is_unspecified(),
        }
    }

    /// As a rule's `to` has it.
    pub(super) fn to(&self) -> String {
        let text = self.destination.to_string();
        text.strip_suffix(":443").map_or(text.clone(), str::to_owned)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.plain { "http" } else { "https" }, self.to())
    }
}

/// Every place that is named in a text, as far as `of_interest` wants its line.
pub(super) fn in_lines(text: &str, of_interest: impl Fn(&str) -> bool) -> Vec<Place> {
    let lines = text.lines().filter(|line| of_interest(line.trim()));
    lines.flat_map(in_line).collect()
}

/// So many are looked at in a line, and so much of each: whoever wrote it may not mean well.
const MOST_IN_LINE: usize = 64;
const LONGEST_URL: usize = 2048;

fn in_line(line: &str) -> Vec<Place> {
    // As a file of Java properties writes it.
    let line = line.replace("\\:", ":");
    let begins = |at: &usize| ["http://", "https://"].iter().any(|scheme| line[*at..].starts_with(scheme));
    let starts = line.match_indices("http").map(|(at, _)| at).filter(begins).take(MOST_IN_LINE);
    let url = |at: usize| {
        let rest = &line[at..];
        let rest = &rest[..rest.floor_char_boundary(LONGEST_URL)];
        let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`,;(){}[]|$".contains(c));
        // An address of IPv6 has brackets.
        let end = if rest.contains("://[") { rest.find(['"', '\'', ' ', '<', '>']) } else { end };
        &rest[..end.unwrap_or(rest.len())]
    };
    starts.filter_map(|at| Place::parse(url(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_costs_no_more_than_it_is_worth() {
        let long = "https://".repeat(1 << 20);
        let begun = std::time::Instant::now();
        assert!(in_line(&long).len() <= MOST_IN_LINE && in_line(&"http".repeat(1 << 21)).is_empty());
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
        assert_eq!(in_line(&format!("see https://a.example.com/{}", "ä".repeat(LONGEST_URL))).len(), 1);
    }

    #[test]
    fn nothing_of_a_url_that_may_be_secret_is_kept() {
        for url in [
            "https://bot:s3cret@Git.Example.com/acme/site.git?key=s3cret#s3cret",
            "https://s3cret@git.example.com/acme/site.git",
            "https://a@b:s3cret@git.example.com:443/acme/site.git/",
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!((place.to().as_str(), place.path.as_str()), ("git.example.com", "/acme/site.git"));
            assert!(!format!("{place:?} {place}").contains("s3cret"));
        }
        for url in ["ftp://x.example.com", "https://", "https:///x", "git@host:x", "https://a b/", "https://h\"x/"] {
            assert!(Place::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn places_are_found_in_lines_of_many_formats() {
        let text = "a \"https://a.example.com/x\" b\n<url>http://b.example.com:8081/maven2</url>\n\
                    url = uri('https://c.example.com/r')\ndistributionUrl=https\\://d.example.com/gradle.zip\n# https://no.example.com\n";
        let found: Vec<String> =
            in_lines(text, |line| !line.starts_with('#')).iter().map(ToString::to_string).collect();
        let expected =
            ["https://a.example.com", "http://b.example.com:8081", "https://c.example.com", "https://d.example.com"];
        assert_eq!(found, expected);
    }
}
