//! The query of a call, as it may be logged.
//!
//! Enters: a query, placeholders in it named already. Leaves: the same, less what looks like a credential. Never: a value under a name
//! that tells of one.

/// The query as it may be logged: values of parameters that are named like a credential become `…`.
pub(crate) fn redact_query(query: &str, credentials: &[String]) -> String {
    const TELLING: [&str; 12] =
        ["token", "key", "secret", "pass", "auth", "sig", "cred", "session", "jwt", "code", "assertion", "pwd"];
    let redact = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => {
            let lower = name.to_ascii_lowercase();
            let telling = TELLING.iter().any(|word| lower.contains(word))
                || credentials.iter().any(|name| lower.contains(name.as_str()));
            if telling || lower.contains('%') { format!("{name}=…") } else { pair.to_owned() }
        }
        None => pair.to_owned(),
    };
    query.split('&').map(redact).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_under_telling_names_are_left_out_of_the_query() {
        assert_eq!(redact_query("page=2&api_key=s3cret&q=x", &[]), "page=2&api_key=…&q=x");
        assert_eq!(redact_query("github=abc&%61uth=abc", &["github".to_owned()]), "github=…&%61uth=…");
    }
}
