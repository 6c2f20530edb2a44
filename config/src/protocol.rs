//! What a rule says about calls inside a request's body: MCP tools, GraphQL operations.
//!
//! Enters: what the file reader has checked, then names that were read from a body. Leaves: whether they are listed. Never: a
//! name that is allowed for want of a list; what is not listed is refused.

use std::fmt;
use std::str::FromStr;

use crate::error::{Malformed, quoted};

/// Longer than any name of a tool, and than most addresses of resources.
const MAX_GLOB: usize = 256;

/// The protocol that a rule's requests speak, and what of it is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `mcp = { … }`
    Mcp(Mcp),
    /// `graphql = { … }`
    GraphQl(GraphQl),
}

impl Protocol {
    /// As a rule names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Mcp(_) => "mcp",
            Self::GraphQl(_) => "graphql",
        }
    }
}

/// What is let through to an MCP server. Every list that is left out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcp {
    pub(crate) tools: Vec<NameGlob>,
    pub(crate) resources: Vec<NameGlob>,
    pub(crate) prompts: Vec<NameGlob>,
    pub(crate) answers: bool,
}

impl Mcp {
    /// The tools that may be called, by name.
    pub fn tools(&self) -> &[NameGlob] {
        &self.tools
    }

    /// Whether this tool may be called.
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|glob| glob.matches(name))
    }

    /// The resources that may be read and subscribed to, by URI.
    pub fn resources(&self) -> &[NameGlob] {
        &self.resources
    }

    /// The prompts that may be fetched, by name.
    pub fn prompts(&self) -> &[NameGlob] {
        &self.prompts
    }

    /// Whether the client may answer what the server asks of it: sampling, elicitation, roots.
    pub fn answers(&self) -> bool {
        self.answers
    }
}

/// What is let through to a GraphQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphQl {
    pub(crate) operations: Vec<Operation>,
}

impl GraphQl {
    /// The kinds of operation that may be asked for.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

/// A kind of GraphQL operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads.
    Query,
    /// Writes.
    Mutation,
    /// Reads on and on.
    Subscription,
}

impl FromStr for Operation {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "query" => Ok(Self::Query),
            "mutation" => Ok(Self::Mutation),
            "subscription" => Ok(Self::Subscription),
            _ => Err(Malformed::new(
                format!("{} is not a kind of GraphQL operation", quoted(text)),
                "write `query`, `mutation` or `subscription`",
            )),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        })
    }
}

/// A pattern for names, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameGlob(Box<str>);

impl NameGlob {
    /// Whether the name, letter for letter, is one of those that the pattern stands for.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
            let Some((_, behind)) = left.split_once(piece) else { return false };
            left = behind;
        }
        left.ends_with(last)
    }
}

impl FromStr for NameGlob {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refused = |hint: &str| Malformed::new(format!("{} is not a pattern for names", quoted(text)), hint);
        if text.is_empty() || text.len() > MAX_GLOB {
            return Err(refused("a pattern for names has 1 to 256 characters"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("names have no spaces and no control characters; `*` stands for any characters"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NameGlob {
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, letter by letter.
    fn stands_for(glob: &[char], name: &[char]) -> bool {
        match (glob, name) {
            ([], []) => true,
            (['*', rest @ ..], _) if stands_for(rest, name) => true,
            (['*', ..], [_, behind @ ..]) => stands_for(glob, behind),
            ([letter, rest @ ..], [first, behind @ ..]) => letter == first && stands_for(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_stands_for_what_its_definition_says(glob in "[ab*]{1,8}", name in "[abA]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<char>>();
            let parsed: NameGlob = glob.parse().unwrap();
            prop_assert_eq!(parsed.matches(&name), stands_for(&letters(&glob), &letters(&name)), "{} {}", glob, name);
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_and_everything_else_for_itself() {
        let matches = |glob: &str, name: &str| glob.parse::<NameGlob>().unwrap().matches(name);
        for (glob, name) in [
            ("search", "search"),
            ("read_*", "read_"),
            ("read_*", "read_file"),
            ("*", ""),
            ("*_file", "read_file"),
            ("a*b*c", "abc"),
            ("a*b*c", "axbybc"),
            ("**", "x"),
            ("file:///docs/*", "file:///docs/a/b"),
        ] {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [
            ("search", "Search"),
            ("search", "search "),
            ("read_*", "read"),
            ("read_*", "xread_file"),
            ("ab*ba", "aba"),
            ("a*b*c", "acb"),
            ("a*bc*c", "abc"),
            ("*_file", "read_file_all"),
            ("a*c", "acb"),
        ] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
    }

    #[test]
    fn what_is_no_name_is_no_pattern() {
        for text in ["", "a b", "a\n", &"a".repeat(257)] {
            assert!(text.parse::<NameGlob>().is_err(), "{text:?}");
        }
    }
}
