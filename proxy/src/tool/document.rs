//! A GraphQL document becomes the operations that are in it.
//!
//! Enters: text. Leaves: each operation's kind and name, by a real parser. Never: a document that does not parse, or that
//! parsers read in different ways.

use apollo_parser::{Lexer, Parser, Token, TokenKind, cst};
use config::Operation;

use super::objection::{Why, shown};
use crate::limit;

/// What is no control character, and yet the end of a line or nothing at all to some parsers: U+2028, U+2029, and the mark of the order of bytes.
const ODD: [char; 3] = ['\u{2028}', '\u{2029}', '\u{feff}'];

/// An operation, and its name if it has one.
pub(super) type Defined = (Operation, Option<String>);

/// The operations of a document, which has no more than so many `tokens`. It takes as many as it has.
pub(super) fn operations(text: &str, tokens: &mut usize) -> Result<Vec<Defined>, Why> {
    // A return that stands alone, and the separators of lines and paragraphs, end a comment for some parsers and not for others.
    let odd = |c: char| (c.is_control() && !matches!(c, '\t' | '\n')) || ODD.contains(&c);
    if text.replace("\r\n", "\n").contains(odd) {
        return Err(Why::shape(
            "the document has control characters or separators of lines, which parsers read in different ways: in a text, write them as `\\u2028`",
        ));
    }
    // To the standard that is a backslash and three quotes within the text; who unescapes it like any other text ends it there.
    if text.contains(r#"\\""""#) {
        return Err(Why::shape("the document has backslashes before the end of a block of text"));
    }
    *tokens = tokens.checked_sub(Lexer::new(text).take(*tokens + 1).count()).ok_or_else(|| {
        Why::shape(&format!("the documents of a request have more than {} tokens in all", limit::GRAPHQL_TOKENS))
    })?;
    let tree = Parser::new(text).recursion_limit(limit::GRAPHQL_DEPTH).parse();
    if let Some(error) = tree.errors().next() {
        return Err(Why::shape(&format!("the document does not parse: {}", shown(error.message()))));
    }
    // The parser lets a text begin with a line feed, of all places.
    let over_lines = |token: &Token<'_>| {
        token.kind() == TokenKind::StringValue && !token.data().starts_with("\"\"\"") && token.data().contains('\n')
    };
    if Lexer::new(text).filter_map(Result::ok).any(|token| over_lines(&token)) {
        return Err(Why::shape("the document has a text that does not end on its line"));
    }
    let mut defined = Vec::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => defined.push((kind(&operation)?, name(&operation))),
            cst::Definition::FragmentDefinition(_) => {}
            _ => return Err(Why::shape("the document defines types, which is nothing to ask a server for")),
        }
    }
    Ok(defined)
}

fn kind(operation: &cst::OperationDefinition) -> Result<Operation, Why> {
    let Some(kind) = operation.operation_type() else { return Ok(Operation::Query) };
    match (kind.query_token(), kind.mutation_token(), kind.subscription_token()) {
        (Some(_), None, None) => Ok(Operation::Query),
        (None, Some(_), None) => Ok(Operation::Mutation),
        (None, None, Some(_)) => Ok(Operation::Subscription),
        _ => Err(Why::shape("an operation of no known kind")),
    }
}

fn name(operation: &cst::OperationDefinition) -> Option<String> {
    operation.name().map(|name| name.text().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Option<Vec<Operation>> {
        operations(text, &mut { limit::GRAPHQL_TOKENS })
            .ok()
            .map(|defined| defined.into_iter().map(|(kind, _)| kind).collect())
    }

    #[test]
    fn strings_and_comments_end_where_the_standard_ends_them() {
        use Operation::{Mutation, Query};
        for (text, found) in [
            (r#"{ a(t: "\"") } mutation { b }"#, &[Query, Mutation][..]),
            (r#"{ a(t: "\\") } mutation { b } # ") }"#, &[Query, Mutation]),
            (r#"{ a(t: """ \""" ") } mutation { b } """) }"#, &[Query]),
            (r#"{ a(t: "") } mutation { b } # "") }"#, &[Query, Mutation]),
            (r#"{ a(t: """""") } mutation { b } # """) }"#, &[Query, Mutation]),
            ("{ a(t: \"#\") } mutation { b }", &[Query, Mutation]),
            ("{ mutation { query } }", &[Query]),
            ("query mutation { a }", &[Query]),
        ] {
            assert_eq!(kinds(text).as_deref(), Some(found), "{text}");
        }
        for text in [
            "{ a(t: \"\n\") }",
            "{ a\u{a0}}",
            "{ a } \u{2028} mutation { b }",
            "{ a } # \u{2028} mutation { b }",
            "# \u{2029} mutation { evil ...query } fragment\nquery\n# \u{2029} on Mutation\n{ __typename }",
            "{ a(t: \"\u{2028}\") }",
            "{ a(t: \"x) }",
            "{ a(t: \"\"\"x\") }",
            r#"{ a(t: """\\""") } mutation { b } # """) }"#,
            "MUTATION { a }",
        ] {
            assert_eq!(kinds(text), None, "{text:?}");
        }
    }

    proptest! {
        /// A word that is no part of a string, a comment or a name cannot hide: a mutation behind a query is always found.
        #[test]
        fn a_mutation_behind_anything_that_parses_is_found(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{ a }", "query Q { a }", "fragment F on T { a }", "#x\n", "\n", ",", "\"", "\"\"\"", "\\", "{ a(t: \"x\") }",
                "{ a(t: \"\"\"y\"\"\") }", "{", "}", "(", ")", "a", ":", "$", "@d", "...", "#", "!", "\u{e9}", "1", " ",
            ]), 0..10),
        ) {
            let before = pieces.concat();
            if let (Some(first), Some(both)) = (kinds(&before), kinds(&format!("{before}\nmutation {{ b }}"))) {
                prop_assert_eq!(both.len(), first.len() + 1, "{:?}", before);
                prop_assert_eq!(both.last(), Some(&Operation::Mutation));
            }
        }
    }
}
