//! One character of a credential, in every way in which encoders write it.
//!
//! Enters: a character. Leaves: its spellings, each with the way it is one of. Never: a guess at which characters an encoder escapes:
//! Python leaves the slash of a path alone, .NET escapes the plus in JSON, Handlebars the equals sign in HTML.

/// A way to write a character, where that can be written so.
type Way = fn(char) -> Option<String>;

/// The first is as it is. Of those that write a character alike the first counts.
const WAYS: [Way; 21] = [
    |c| Some(c.to_string()),
    |c| Some(percent(c, "%", false)),
    |c| Some(percent(c, "%", true)),
    |c| (c == ' ').then(|| "+".to_owned()),
    // JSON and JavaScript.
    short,
    |c| Some(units(c, "\\u", false)),
    |c| Some(units(c, "\\u", true)),
    |c| u8::try_from(c).ok().map(|byte| format!("\\x{byte:02x}")),
    |c| u8::try_from(c).ok().map(|byte| format!("\\x{byte:02X}")),
    // HTML and XML.
    named,
    |c| Some(format!("&#{};", u32::from(c))),
    |c| Some(format!("&#{:03};", u32::from(c))),
    |c| Some(format!("&#x{:x};", u32::from(c))),
    |c| Some(format!("&#x{:X};", u32::from(c))),
    // Twice, as where one URL is in the query of another, or JSON in a string of JSON.
    |c| Some(percent(c, "%25", false)),
    |c| Some(percent(c, "%25", true)),
    |c| Some(units(c, "\\\\u", false)),
    |c| Some(units(c, "\\\\u", true)),
    |c| short(c).map(|short| short.replace('\\', "\\\\").replace('"', "\\\"")),
    |c| (c == '/').then(|| "\\\\\\/".to_owned()),
    // Quoted-printable.
    |c| Some(percent(c, "=", false)),
];

/// Whether some encoder escapes `character` where another does not. Those that escape everything escape letters and digits, too.
pub(super) fn varies(character: char) -> bool {
    !character.is_ascii_alphanumeric() && !"-._".contains(character)
}

/// The spellings of `character`.
pub(super) fn spellings(character: char) -> Vec<(usize, Vec<u8>)> {
    let mut spellings: Vec<(usize, Vec<u8>)> = Vec::new();
    for (way, spelt) in WAYS.iter().enumerate().filter_map(|(way, write)| Some((way, write(character)?.into_bytes()))) {
        if !spellings.iter().any(|(_, one)| *one == spelt) {
            spellings.push((way, spelt));
        }
    }
    spellings
}

/// `text` as it would be written by whoever wrote characters in these ways: the same character in the same way, another as the first that
/// was escaped.
pub(super) fn alike(text: &str, ways: &[(char, usize)]) -> String {
    let mut spelt = String::with_capacity(text.len());
    for character in text.chars() {
        let same = ways.iter().find(|(one, _)| *one == character).map(|&(_, way)| WAYS[way]);
        let other = || ways.iter().filter(|(_, way)| *way > 0).find_map(|&(_, way)| WAYS[way](character));
        let escaped = varies(character).then(|| same.map_or_else(other, |write| write(character))).flatten();
        match escaped {
            Some(escaped) => spelt.push_str(&escaped),
            None => spelt.push(character),
        }
    }
    spelt
}

fn percent(character: char, lead: &str, lower: bool) -> String {
    let mut room = [0; 4];
    let bytes = character.encode_utf8(&mut room).bytes();
    bytes.map(|byte| if lower { format!("{lead}{byte:02x}") } else { format!("{lead}{byte:02X}") }).collect()
}

fn units(character: char, lead: &str, upper: bool) -> String {
    let mut room = [0; 2];
    let units = character.encode_utf16(&mut room).iter();
    units.map(|unit| if upper { format!("{lead}{unit:04X}") } else { format!("{lead}{unit:04x}") }).collect()
}

fn short(character: char) -> Option<String> {
    let letter = match character {
        '"' | '\\' | '/' | '\'' => character,
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        _ => return None,
    };
    Some(format!("\\{letter}"))
}

fn named(character: char) -> Option<String> {
    let name = match character {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&apos;",
        _ => return None,
    };
    Some(name.to_owned())
}
