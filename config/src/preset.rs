//! The looks of credentials that many clients know, by name.
//!
//! Enters: a preset's name, or a shape. Leaves: the shape of the placeholder, and of the id beside it where a credential has one.
//! Never: a real one's checksum; what scans repositories for leaks is not to cry out at a placeholder.

use std::str::FromStr;

use crate::error::{Malformed, quoted};
use crate::shape::Shape;

/// What is known of a kind of credential.
struct Preset {
    name: &'static str,
    /// What stands for the secret.
    secret: &'static str,
    /// What stands for the id that goes with it.
    id: Option<&'static str>,
    usage: Usage,
}

/// How a credential of a certain look is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// It is sent.
    #[default]
    Sent,
    /// Requests are signed with it, and it is never sent.
    Signs,
    /// An assertion is signed with a key, and what is sent is got for that.
    Asserts,
}

const fn sent(name: &'static str, secret: &'static str) -> Preset {
    Preset { name, secret, id: None, usage: Usage::Sent }
}

/// As their issuers publish them, or as their SDKs and scanners know them. AWS documents a key's id as 16 to 128 characters; of the 20 that
/// its own have, 80 bits would be left to chance, so it is longer here. So are GitLab's, of which 120 would be.
const PRESETS: [Preset; 17] = [
    sent("github-pat", "ghp_[A-Za-z0-9]{36}"),
    sent("github-oauth", "gho_[A-Za-z0-9]{36}"),
    sent("github-app", "ghs_[A-Za-z0-9]{36}"),
    sent("github-fine-grained", "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    sent("gitlab", "glpat-[A-Za-z0-9_-]{26}"),
    sent("openai", "sk-proj-[A-Za-z0-9_-]{74}T3BlbkFJ[A-Za-z0-9_-]{74}"),
    sent("anthropic", "sk-ant-api03-[A-Za-z0-9_-]{93}AA"),
    sent("slack-bot", "xoxb-[0-9]{12}-[0-9]{13}-[A-Za-z0-9]{24}"),
    sent("slack-user", "xoxp-[0-9]{12}-[0-9]{13}-[0-9]{13}-[a-f0-9]{32}"),
    sent("slack-app", "xapp-1-A[A-Z0-9]{10}-[0-9]{13}-[a-f0-9]{64}"),
    sent("stripe-live", "sk_live_51[A-Za-z0-9]{97}"),
    sent("stripe-test", "sk_test_51[A-Za-z0-9]{97}"),
    sent("npm", "npm_[A-Za-z0-9]{36}"),
    sent("pypi", "pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{157}"),
    Preset { name: "aws", secret: AWS_SECRET, id: Some("AKIA[A-Z2-7]{28}"), usage: Usage::Signs },
    Preset { name: "aws-session", secret: AWS_SECRET, id: Some("ASIA[A-Z2-7]{28}"), usage: Usage::Signs },
    Preset {
        name: "google-service-account",
        secret: r"ya29\.c\.[A-Za-z0-9_-]{128}",
        id: Some("[0-9a-f]{40}"),
        usage: Usage::Asserts,
    },
];
const AWS_SECRET: &str = "[A-Za-z0-9/+]{40}";

/// What the placeholders of a credential look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub secret: Shape,
    pub id: Option<Shape>,
    pub usage: Usage,
}

impl FromStr for Look {
    type Err = Malformed;

    /// A preset's name, or a shape as it is written.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == text) {
            let id = preset.id.map(str::parse).transpose()?;
            return Ok(Self { secret: preset.secret.parse()?, id, usage: preset.usage });
        }
        let is_word =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if is_word {
            let names: Vec<String> = PRESETS.iter().map(|preset| format!("`{}`", preset.name)).collect();
            let hint = format!("write a shape like `[A-Za-z0-9]{{32}}`, or one of {}", names.join(", "));
            return Err(Malformed::new(format!("there is no preset {}", quoted(text)), hint));
        }
        Ok(Self { secret: text.parse()?, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_shape_that_nobody_guesses() {
        for preset in &PRESETS {
            let look: Look = preset.name.parse().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            for shape in [Some(look.secret), look.id].into_iter().flatten() {
                assert!(shape.entropy_bits() >= 128.0, "{}: {} bits", preset.name, shape.entropy_bits());
                assert!(shape.needs_no_escape(), "{}", preset.name);
            }
        }
    }

    #[test]
    fn a_word_that_is_no_preset_is_told_which_there_are() {
        let error = "github".parse::<Look>().unwrap_err();
        assert!(error.to_string().contains("no preset `github`") && error.hint().contains("`github-pat`"), "{error}");
        assert_eq!("exeat_[A-Za-z0-9]{32}".parse::<Look>().unwrap(), Look::default());
    }
}
