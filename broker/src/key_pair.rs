//! A key pair that requests are signed with, at AWS and what speaks like it.
//!
//! Enters: its parts, or the one line in which a lease carries them: `ID:SECRET`, or `ID:SECRET:SESSION`. Leaves: the parts. Never: a part
//! with a character in it that would make of the line another pair, or of a request's head another head.

use crate::secret::Secret;

/// AWS documents 16 to 128 characters; what only speaks like it may have fewer.
const MAX_ID: usize = 128;
/// 40 characters at AWS.
const MAX_SECRET: usize = 256;
/// AWS names no bound; some are 2 KiB long. It goes into the head of each request.
const MAX_SESSION: usize = 12 * 1024;

/// What signs, and as whom.
#[derive(Debug)]
pub struct KeyPair {
    /// The access key id. Not secret, and of no use inside.
    pub id: String,
    /// The secret access key. It is sent nowhere.
    pub secret: Secret,
    /// What goes beside a signature by a temporary pair.
    pub session: Option<Secret>,
}

impl KeyPair {
    /// Reads the line in which a lease has it.
    ///
    /// # Errors
    /// What is wrong with it, in words that have nothing of it.
    pub fn read(line: &Secret) -> Result<KeyPair, &'static str> {
        let mut parts = line.expose().split(':');
        let (Some(id), Some(secret), session, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("a key pair is `ID:SECRET`, or `ID:SECRET:SESSION`, in one line");
        };
        let word = |text: &str, longest: usize| {
            (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match () {
            () if !word(id, MAX_ID) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                Err("the id of a key pair has letters and digits only")
            }
            () if !word(secret, MAX_SECRET) => Err("the secret of a key pair has visible characters of ASCII only"),
            () if !session.is_none_or(|session| word(session, MAX_SESSION)) => {
                Err("what is behind the second colon of a key pair is no session")
            }
            () => Ok(KeyPair { id: id.to_owned(), secret: Secret::new(secret), session: session.map(Secret::new) }),
        }
    }

    /// The line for these parts, if it is read as these.
    pub(crate) fn line(id: &str, secret: &str, session: &str) -> Option<Secret> {
        let mut line = String::with_capacity(id.len() + secret.len() + session.len() + 2);
        for (index, part) in [id, secret, session].into_iter().enumerate() {
            if index > 0 {
                line.push(':');
            }
            line.push_str(part);
        }
        let line = Secret::new(line);
        KeyPair::read(&line).is_ok().then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(line: &str) -> Option<(String, String, Option<String>)> {
        let pair = KeyPair::read(&Secret::new(line)).ok()?;
        Some((pair.id, pair.secret.expose().to_owned(), pair.session.map(|session| session.expose().to_owned())))
    }

    #[test]
    fn two_parts_or_three_and_nothing_else() {
        let (id, secret) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        assert_eq!(parts(&format!("{id}:{secret}")).unwrap(), (id.to_owned(), secret.to_owned(), None));
        assert_eq!(parts(&format!("{id}:{secret}:a/b+c==")).unwrap().2.unwrap(), "a/b+c==");
        for bad in
            ["", ":", "a:", ":b", "a", "a:b:", "a:b:c:d", "a b:c", "a:b c", "a:b\n", "a:b:c\r\nx", "a/b:c", "ä:b"]
        {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
        assert!(parts(&format!("{}:b", "a".repeat(129))).is_none());
    }

    proptest! {
        #[test]
        fn a_line_is_read_as_the_parts_it_was_made_of_or_not_made(
            id in "[!-~]{0,20}|\\PC{0,20}", secret in "[!-~]{0,20}|\\PC{0,20}", session in "[!-~]{0,20}|\\PC{0,20}",
        ) {
            if let Some(line) = KeyPair::line(&id, &secret, &session) {
                prop_assert_eq!(parts(line.expose()), Some((id, secret, Some(session))));
            }
        }
    }
}
