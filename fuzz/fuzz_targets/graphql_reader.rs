//! A reader of GraphQL that shares nothing with the proxy's: tokens as the standard has them (section 2.1), and of a document no more than where
//! its definitions begin. It takes much that is no document; of one that is, it misses no operation.

/// The kind of an operation, and its name.
pub type Operation = (&'static str, Option<String>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Mark(char),
    /// A text or a number.
    Value,
}

/// The operations of a document; `None` where something else is in it.
pub fn operations(document: &str) -> Option<Vec<Operation>> {
    let tokens = tokens(document)?;
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match *token {
            // What describes the definition behind it.
            Token::Value => continue,
            Token::Mark('{') => {
                found.push(("query", None));
                at -= 1;
            }
            Token::Word("fragment") => {}
            Token::Word(word) => {
                let kind = ["query", "mutation", "subscription"].into_iter().find(|kind| *kind == word)?;
                let name = tokens.get(at).and_then(|token| match token {
                    Token::Word(name) => Some((*name).to_owned()),
                    _ => None,
                });
                found.push((kind, name));
            }
            Token::Mark(_) => return None,
        }
        at = behind(&tokens, at)?;
    }
    Some(found)
}

/// Those that are run where one of this name is asked for; none is asked for by the empty one.
pub fn chosen(operations: Vec<Operation>, wanted: &str) -> Vec<Operation> {
    operations.into_iter().filter(|(_, name)| wanted.is_empty() || name.as_deref() == Some(wanted)).collect()
}

/// Behind the selections of the definition that goes on here: the first braces that are in no others.
fn behind(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let (mut depth, mut selections) = (0_usize, false);
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Mark(mark @ ('{' | '(' | '[')) => {
                selections |= depth == 0 && *mark == '{';
                depth += 1;
            }
            Token::Mark('}' | ')' | ']') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && selections {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn tokens(document: &str) -> Option<Vec<Token<'_>>> {
    let (mut tokens, mut rest) = (Vec::new(), document);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\u{feff}' | '\t' | ' ' | ',' | '\n' | '\r' => first.len_utf8(),
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '"' => {
                tokens.push(Token::Value);
                text(rest)?
            }
            '-' | '0'..='9' => {
                tokens.push(Token::Value);
                rest.find(|c: char| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-')).unwrap_or(rest.len())
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                let length = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..length]));
                length
            }
            '.' if rest.starts_with("...") => 3,
            '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => {
                tokens.push(Token::Mark(first));
                1
            }
            _ => return None,
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

/// How long the text is that begins here, with its quotation marks.
fn text(rest: &str) -> Option<usize> {
    if let Some(block) = rest.strip_prefix(r#"""""#) {
        // Escaped or not, and whatever is before it: what counts is where the first one is that is not escaped.
        let mut from = 0;
        loop {
            let end = from + block[from..].find(r#"""""#)?;
            match block[..end].ends_with('\\') {
                true => from = end + 3,
                false => return Some(3 + end + 3),
            }
        }
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
