//! The query of a call, as it may be logged.
//!
//! Enters: a query, placeholders in it named already. Leaves: the same, less what looks like a credential. Never: a value under a name
//! that tells of one.

use aho_corasick::AhoCorasick;

/// What tells of a credential in the name of a parameter, beside the name of one.
const WORDS: [&str; 12] =
    ["token", "key", "secret", "pass", "auth", "sig", "cred", "session", "jwt", "code", "assertion", "pwd"];

/// Knows which names of parameters tell of a credential.
#[derive(Debug)]
pub(crate) struct Telling(AhoCorasick);

impl Telling {
    /// Of a worker that may be given these `credentials`.
    pub(crate) fn new(credentials: impl IntoIterator<Item = String>) -> Self {
        let words = WORDS.map(str::to_owned).into_iter().chain(credentials);
        let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
        Self(words.expect("the names of a worker's credentials take less than 2 GiB"))
    }

    /// The query as it may be logged: values of parameters that are named like a credential become `…`.
    pub(crate) fn redact(&self, query: &str) -> String {
        let mut shown = String::with_capacity(query.len());
        for (index, pair) in query.split('&').enumerate() {
            shown.push_str(if index == 0 { "" } else { "&" });
            match pair.split_once('=') {
                Some((name, _)) if name.contains('%') || self.0.is_match(name) => {
                    shown.push_str(name);
                    shown.push_str("=…");
                }
                _ => shown.push_str(pair),
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_under_telling_names_are_left_out_of_the_query() {
        let redacted = |query| Telling::new(["GitHub".to_owned()]).redact(query);
        assert_eq!(redacted("page=2&API_Key=s3cret&q=x"), "page=2&API_Key=…&q=x");
        assert_eq!(redacted("github=abc&%61uth=abc"), "github=…&%61uth=…");
        assert_eq!(redacted("&key&a=key&=&my-token=a=b&"), "&key&a=key&=&my-token=…&");
    }
}
