//! The little of XML 1.0 that answers are written in: elements within elements, and text in the innermost.
//!
//! Enters: bytes that an endpoint sent. Leaves: the text at a path of element names. Never: a document type, an entity of its own, a
//! comment, CDATA, an instruction, text beside elements; a depth or a number without a bound. What has none of these has one reading.

use zeroize::Zeroizing;

/// STS nests four deep.
const MAX_DEPTH: usize = 16;
/// STS has a dozen.
const MAX_LEAVES: usize = 256;
/// STS answers with 3 KiB.
const MAX_DOCUMENT: usize = 256 * 1024;

/// A document that was read to its end.
#[derive(Default)]
pub struct Document {
    leaves: Vec<(String, Zeroizing<String>)>,
}

/// What is not written in that little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not plain XML: {0}")]
pub struct Unread(&'static str);

/// What is left to read.
struct Rest<'a>(&'a str);

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Unread`]
    pub fn read(document: &[u8]) -> Result<Document, Unread> {
        if document.len() > MAX_DOCUMENT {
            return Err(Unread("it is too long"));
        }
        let text = std::str::from_utf8(document).map_err(|_| Unread("it is not UTF-8"))?;
        let mut rest = Rest(text);
        if rest.skip("<?xml ") {
            let declaration = rest.until("?>")?;
            if declaration.contains(['<', '>', '&']) {
                return Err(Unread("its declaration is none"));
            }
        }
        rest.blank();
        if !rest.skip("<") {
            return Err(Unread("it does not begin with an element"));
        }
        let mut read = Document::default();
        let mut open = Vec::new();
        read.elements(&mut rest, &mut open)?;
        rest.blank();
        if rest.0.is_empty() { Ok(read) } else { Err(Unread("there is something behind its end")) }
    }

    /// The text of the only element at a path of names, `Outer/Inner`.
    pub fn only(&self, path: &str) -> Option<&str> {
        let mut found = self.leaves.iter().filter(|(leaf, _)| leaf == path);
        found.next().filter(|_| found.next().is_none()).map(|(_, text)| text.as_str())
    }

    /// Reads the element whose `<` was read, with all that is in it, and to the end of its own tag.
    fn elements<'a>(&mut self, rest: &mut Rest<'a>, open: &mut Vec<(&'a str, bool)>) -> Result<(), Unread> {
        loop {
            // Behind a `<`.
            if rest.skip("/") {
                let (name, _) = open.pop().ok_or(Unread("an element ends that did not begin"))?;
                if !rest.skip(name) {
                    return Err(Unread("an element ends by another name"));
                }
                rest.blank();
                if !rest.skip(">") {
                    return Err(Unread("the end of an element does not end"));
                }
            } else {
                let (name, ended) = rest.start()?;
                if let Some((_, has_elements)) = open.last_mut() {
                    *has_elements = true;
                }
                open.push((name, false));
                if open.len() > MAX_DEPTH {
                    return Err(Unread("it is nested too deep"));
                }
                if ended {
                    self.leaf(open, "")?;
                    open.pop();
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            let text = rest.until("<")?;
            let ends = rest.0.starts_with('/');
            let (_, has_elements) = open.last().copied().unwrap_or_default();
            if ends && !has_elements {
                self.leaf(open, text)?;
            } else if !text.bytes().all(is_blank) {
                return Err(Unread("there is text beside elements"));
            }
        }
    }

    fn leaf(&mut self, open: &[(&str, bool)], text: &str) -> Result<(), Unread> {
        if self.leaves.len() == MAX_LEAVES {
            return Err(Unread("it has too many elements"));
        }
        let names: Vec<&str> = open.iter().map(|(name, _)| *name).collect();
        self.leaves.push((names.join("/"), unescaped(text)?));
        Ok(())
    }
}

impl<'a> Rest<'a> {
    fn skip(&mut self, text: &str) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn blank(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// All before `end`, which is read, too.
    fn until(&mut self, end: &str) -> Result<&'a str, Unread> {
        let (before, rest) = self.0.split_once(end).ok_or(Unread("it breaks off"))?;
        self.0 = rest;
        Ok(before)
    }

    fn name(&mut self) -> Result<&'a str, Unread> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
        let length = self.0.bytes().take_while(|&byte| inner(byte)).count();
        let (name, rest) = self.0.split_at(length);
        if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            return Err(Unread("there is something else where a name should be"));
        }
        self.0 = rest;
        Ok(name)
    }

    /// The name and the attributes of an element that begins, of which only the name counts, and whether it ends with that.
    fn start(&mut self) -> Result<(&'a str, bool), Unread> {
        let name = self.name()?;
        loop {
            let before = self.0.len();
            self.blank();
            match () {
                () if self.skip(">") => return Ok((name, false)),
                () if self.skip("/>") => return Ok((name, true)),
                () if self.0.len() == before => return Err(Unread("an attribute is not set apart")),
                () => {}
            }
            self.name()?;
            let quote = ["=\"", "='"].into_iter().find(|quote| self.skip(quote));
            let quote = quote.ok_or(Unread("an attribute has no value"))?;
            if self.until(&quote[1..])?.contains(['<', '&']) {
                return Err(Unread("an attribute's value is none"));
            }
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The five entities and the characters by number, as what they stand for.
fn unescaped(text: &str) -> Result<Zeroizing<String>, Unread> {
    if text.contains("]]>") {
        return Err(Unread("a section ends that did not begin"));
    }
    // Nothing becomes longer: a buffer that grew would leave a copy behind.
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = Rest(text);
    while let Ok(before) = rest.until("&") {
        plain.push_str(before);
        let entity = rest.until(";")?;
        plain.push(character(entity).ok_or(Unread("it has an entity that is none"))?);
    }
    plain.push_str(rest.0);
    match plain.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\r' | '\n')) {
        true => Ok(plain),
        false => Err(Unread("it has a control character")),
    }
}

fn character(entity: &str) -> Option<char> {
    let digits = |digits: &str, radix| {
        let plain = (1..=7).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32)).flatten()
    };
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match (entity.strip_prefix("#x"), entity.strip_prefix('#')) {
            (Some(hexadecimal), _) => digits(hexadecimal, 16),
            (None, Some(decimal)) => digits(decimal, 10),
            (None, None) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(document: &str, path: &str) -> Option<String> {
        Document::read(document.as_bytes()).ok()?.only(path).map(str::to_owned)
    }

    #[test]
    fn text_is_found_by_its_path() {
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"https://a.example/\" b='c'>\n \
                        <B><C>x &amp;&#65;&#x42;</C>\
                        <D></D><F a='' /></B>\n<B ><C>twice</C ></B><E>\n</E></A>\n";
        assert_eq!(only(document, "A/B/D").unwrap(), "");
        assert_eq!((only(document, "A/E").unwrap(), only(document, "A/B/F").unwrap()), ("\n".into(), String::new()));
        assert_eq!(only(document, "A/B/C"), None, "there are two");
        assert_eq!(only(document, "A/B"), None, "it has no text");
        assert_eq!(only("<A><B>x &amp;&#65;&#x42;&lt;</B></A>", "A/B").unwrap(), "x &AB<");
    }

    #[test]
    fn what_could_be_more_than_it_seems_is_not_read() {
        let deep = "<a>".repeat(MAX_DEPTH + 1) + &"</a>".repeat(MAX_DEPTH + 1);
        let wide = format!("<a>{}</a>", "<b></b>".repeat(MAX_LEAVES + 1));
        for document in [
            "",
            "a",
            "<a>",
            "<a></b>",
            "<a></a><a></a>",
            "<a></a>x",
            "</a>",
            "<a/ >",
            "<a/></a>",
            "<a/><b/>",
            "<a>x<b></b></a>",
            "<a><b></b>x</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<a>&b;</a>",
            "<a>&#0;</a>",
            "<a>&#x110000;</a>",
            "<a>&#x+41;</a>",
            "<a>&amp</a>",
            "<a><!-- --></a>",
            "<a><![CDATA[b]]></a>",
            "<a>]]></a>",
            "<a><?b c?></a>",
            "<a b></a>",
            "<a b=c></a>",
            "<a b=\"&c;\"></a>",
            "<a b=\"1\"c=\"2\"></a>",
            "<a b=\"<\"></a>",
            "\u{feff}<a></a>",
            "<a>\u{1}</a>",
            "<1></1>",
            &deep,
            &wide,
        ] {
            assert!(Document::read(document.as_bytes()).is_err(), "{document}");
        }
        assert!(Document::read(b"<a>\xff</a>").is_err());
        assert!(Document::read(format!("<a>{}</a>", "b".repeat(MAX_DOCUMENT)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(document in "[<>/&;#xa b=\"'!?\\]\\[-]{0,60}") {
            let _ = Document::read(document.as_bytes());
        }

        #[test]
        fn what_was_written_is_read(texts in prop::collection::vec("[^\\p{Cc}]{0,20}", 1..6)) {
            let escaped = |text: &String| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let element = |(index, text)| format!("<e{index} a='b'>{}</e{index}>", escaped(text));
            let inner: String = texts.iter().enumerate().map(element).collect();
            let document = Document::read(format!("<r> {inner}\n</r>").as_bytes()).unwrap();
            for (index, text) in texts.iter().enumerate() {
                prop_assert_eq!(document.only(&format!("r/e{index}")), Some(text.as_str()));
            }
        }
    }
}
