//! A host name in its one canonical form.
//!
//! Enters: what a person wrote or a peer sent. Leaves: lower-case A-labels without the trailing dot, so that equal
//! names are equal strings. Never: text that some resolver would read as an address, or a look-alike that IDNA would
//! fold into another name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::error::{Malformed, quoted};
use crate::text::travels_as_text;

/// RFC 1035: a name of 253 characters is 255 bytes on the wire.
const MAX_NAME: usize = 253;
/// RFC 1035: the length of a label is six bits.
const MAX_LABEL: usize = 63;

/// A host name: lower case, A-labels, no trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies below `parent`, at any depth. No name lies below itself.
    pub fn is_below(&self, parent: &DnsName) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|front| front.ends_with('.'))
    }
}

impl FromStr for DnsName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        // IDNA takes time that grows faster than its input; a U-label is never longer than four bytes per character.
        if bare.len() > MAX_NAME * 4 {
            return Err(refused(text, "a host name has at most 253 characters"));
        }
        let name = match to_a_labels(bare) {
            Some(name) if !name.is_empty() => name,
            _ => return Err(refused(text, hint_for(text))),
        };
        if name.len() > MAX_NAME {
            return Err(refused(text, "a host name has at most 253 characters"));
        }
        if !name.split('.').all(is_label) {
            return Err(refused(text, hint_for(text)));
        }
        if name.rsplit('.').next().is_some_and(reads_as_number) {
            return Err(refused(text, "its last label reads as a number; write an address as `192.0.2.1`"));
        }
        Ok(Self(name.into()))
    }
}

/// The name in ASCII and lower case, or `None` where IDNA refuses it or would change more than letter case.
fn to_a_labels(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    if lower.is_ascii() && !lower.split('.').any(|label| label.starts_with("xn--")) {
        return Some(lower);
    }
    let idna = Uts46::new();
    let ascii = idna.to_ascii(lower.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore).ok()?;
    if *ascii == *lower {
        return Some(lower);
    }
    // Full-width letters, other dots, ligatures: IDNA maps them to plain ones. A name that only looks like another is
    // refused rather than folded into it.
    let (unicode, outcome) = idna.to_unicode(lower.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    (outcome.is_ok() && *unicode == *lower).then(|| ascii.into_owned())
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// As the URL standard tells names from addresses: the last label is all digits, or `0x` and hexadecimal digits.
fn reads_as_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
        || label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn refused(text: &str, hint: &str) -> Malformed {
    Malformed::new(format!("{} is not a host name", quoted(text)), hint)
}

fn hint_for(text: &str) -> &'static str {
    if text.contains("://") {
        "leave out the scheme: `api.example.com`"
    } else if text.contains('/') {
        "write the host alone; paths go under `paths`"
    } else if text.contains('@') {
        "a destination carries no user name"
    } else if text.contains('*') {
        "a wildcard is the whole first label of a pattern: `*.example.com`"
    } else if text.is_ascii() {
        "a host name is made of letters, digits and hyphens between dots: `api.example.com`"
    } else {
        "write the name in lower case, or its `xn--` form"
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DnsName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DnsName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

travels_as_text!(DnsName);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        text.parse().unwrap()
    }

    #[test]
    fn case_trailing_dot_and_u_labels_are_one_name() {
        assert_eq!(name("API.GitHub.com.").as_str(), "api.github.com");
        assert_eq!(name("bücher.example"), name("xn--bcher-kva.example"));
        assert_eq!(name("BÜCHER.example"), name("XN--BCHER-KVA.example"));
        assert_eq!(name("_acme.r3---sn-x.example").as_str(), "_acme.r3---sn-x.example");
    }

    #[test]
    fn what_is_no_name_or_reads_as_another_is_refused() {
        let long = format!("{}.example", "a.".repeat(130));
        let label = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "-a.b",
            "a-.b",
            "a b",
            "a/b",
            "a:1",
            "[a]",
            "a@b",
            "*.a",
            "a\0b",
            "a%00b",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x",
            "1.2.3.04",
            "a.0x1f",
            "::1",
            &long,
            &label,
            // look-alikes and invalid punycode
            "ｇithub.com",
            "github。com",
            "ﬁ.example",
            "xn--.example",
            "xn--a.example",
            "a\u{ad}b.example",
            "xn--GITHUB-.com",
        ] {
            assert!(text.parse::<DnsName>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn below_minds_the_label_border() {
        let parent = name("example.com");
        assert!(name("a.example.com").is_below(&parent));
        assert!(name("b.a.example.com").is_below(&parent));
        assert!(!name("example.com").is_below(&parent));
        assert!(!name("notexample.com").is_below(&parent));
        assert!(!name("example.com.evil.net").is_below(&parent));
    }
}
