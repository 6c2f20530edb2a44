//! A rule, as it is asked for.
//!
//! Enters: `allow #2`, `deny 1`, `deny`, `line 14`, or a rule as the log has it. Leaves: whether a rule in the log is that one. Never: rule 1 where
//! rule 12 is.

use std::str::FromStr;

/// Words that the log's has, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFilter(Vec<String>);

impl RuleFilter {
    /// Whether the log's rule is one that is meant.
    pub fn has(&self, rule: &str) -> bool {
        words(rule).windows(self.0.len()).any(|some| *some == self.0)
    }
}

impl FromStr for RuleFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = words(text);
        let begins = words.first().is_some_and(|first| first.starts_with(|c: char| c.is_alphabetic() || c == '#'));
        begins.then_some(RuleFilter(words)).ok_or("write \"allow #2\", \"deny #1\", \"deny\" or \"line 14\"")
    }
}

/// `allow #2 (line 14)` as `allow`, `#2`, `line`, `14`. A number behind `allow` or `deny` is the rule's, with `#` or without.
fn words(rule: &str) -> Vec<String> {
    let rule = rule.to_lowercase().replace('#', " #").replace(['(', ')', ','], " ");
    let mut words: Vec<String> = Vec::new();
    for word in rule.split_whitespace() {
        let counted = words.last().is_some_and(|last| last == "allow" || last == "deny");
        match counted && word.bytes().all(|byte| byte.is_ascii_digit()) {
            true => words.push(format!("#{word}")),
            false => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_by_its_number_or_its_line() {
        let has = |text: &str, rule: &str| text.parse::<RuleFilter>().unwrap().has(rule);
        let rule = "allow #2 (line 14)";
        for text in ["allow #2", "allow 2", "allow#2", "Allow", "#2", "line 14", rule] {
            assert!(has(text, rule), "{text}");
        }
        for text in ["allow #1", "deny #2", "#14", "line 2", "line 1", "allow #20", "deny"] {
            assert!(!has(text, rule), "{text}");
        }
        assert!(!has("allow", ""));
        for bad in ["", "2", "()", "14"] {
            assert!(bad.parse::<RuleFilter>().is_err(), "{bad}");
        }
    }
}
