//! TOML with comments, of parts that others chose.
//!
//! Enters: strings, whatever is in them. Leaves: text in which each of them is one string, or a part of one comment. Never: a string that ends
//! its line or its quotes, or a character in a comment that a terminal acts on.

/// A line of comment is no longer than this where it can be broken.
const WIDTH: usize = 116;

/// A string, quoted.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list of strings.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

/// Lines of comment, broken at blanks.
pub(super) fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in shown(text).split(' ').filter(|word| !word.is_empty()) {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            lines += &line;
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    lines += &line;
    lines.push('\n');
    lines
}

/// What may stand in a comment, and on a terminal.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 1000;
    text.chars().take(LONGEST).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// The same lines, as a comment.
pub(super) fn commented_out(lines: &str) -> String {
    lines
        .lines()
        .map(|line| if line.starts_with('#') || line.is_empty() { format!("{line}\n") } else { format!("# {line}\n") })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_in_a_string_it_is_one_string(text in any::<String>()) {
            let table: toml::Table = format!("a = {}\nb = {}\n", quoted(&text), list([&text, "x"])).parse().unwrap();
            prop_assert_eq!(table["a"].as_str(), Some(text.as_str()));
            prop_assert_eq!(table["b"][0].as_str(), Some(text.as_str()));
            prop_assert_eq!(table.len(), 2);
        }

        #[test]
        fn whatever_is_in_a_comment_it_is_a_comment(text in "\\PC*|[\\x00-\\x7f]*") {
            let lines = comment(&text);
            prop_assert!(lines.parse::<toml::Table>().unwrap().is_empty());
            prop_assert!(lines.chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
        }
    }
}
