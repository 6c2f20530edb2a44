//! Names in a form's body, looked through as it comes, for one by which the call is taken for another.
//!
//! Enters: a head, and the body behind it as it reads once it is decoded. Leaves: nothing, or the refusal, before the value behind
//! the name passes. Never: a body of another type looked at; a name that is found only if the body is cut in one way.

mod members;
mod pairs;
mod parts;

use aho_corasick::packed::{Builder, Searcher};
use http::header::{CONTENT_TYPE, HeaderMap};

use self::members::Members;
use self::pairs::Pairs;
use self::parts::Parts;
use super::overriding::{may_override, overridden};
use crate::error::Refusal;
use crate::grpc;

const ASCII: [&str; 7] = ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"];

/// What is looked for in a body: its type says whether there are names in it, or there is none, and some take it for a form.
#[derive(Debug, Default)]
pub struct FormWatch {
    pairs: Option<Pairs>,
    parts: Option<Parts>,
    members: Option<Members>,
    /// In its charset, ASCII is not written as such.
    foreign: bool,
}

impl FormWatch {
    /// A watch over the body behind `headers`, if it may be a form to anybody.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let in_messages = !matches!(grpc::messages(headers), Ok(None));
        let mut types =
            headers.get_all(CONTENT_TYPE).iter().map(|value| value.as_bytes().to_ascii_lowercase()).peekable();
        let mut watch = Self { pairs: types.peek().is_none().then(Pairs::default), ..Self::default() };
        for value in types {
            let says = |kind: &[u8]| value.windows(kind.len()).any(|some| some == kind);
            if says(b"application/x-www-form-urlencoded") {
                watch.pairs = Some(Pairs::default());
            }
            if says(b"multipart/") {
                watch.parts = Some(Parts::default());
            }
            if !in_messages && (says(b"/json") || says(b"+json")) {
                watch.members = Some(Members::default());
            }
            watch.foreign |= !is_ascii_in(&value);
        }
        // JSON is read as UTF-8, whatever is said of it.
        watch.foreign &= watch.pairs.is_some() || watch.parts.is_some();
        (watch.pairs.is_some() || watch.parts.is_some() || watch.members.is_some()).then_some(watch)
    }

    /// Looks through the next piece. It may go on only after that.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for a name that overrides, and for what is too long to be read as one; [`Refusal::UnexaminedBody`] for a charset
    /// that has other bytes for it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if self.foreign && !piece.is_empty() {
            return Err(Refusal::UnexaminedBody("its form is in a charset other than UTF-8 or Latin-1".to_owned()));
        }
        self.pairs.as_mut().map_or(Ok(()), |pairs| pairs.push(piece))?;
        self.parts.as_mut().map_or(Ok(()), |parts| parts.push(piece))?;
        self.members.as_mut().map_or(Ok(()), |members| members.push(piece))
    }

    /// Looks at what is left.
    ///
    /// # Errors
    /// As [`FormWatch::push`].
    pub fn finish(&mut self) -> Result<(), Refusal> {
        self.pairs.as_mut().map_or(Ok(()), Pairs::judge)?;
        self.parts.as_ref().map_or(Ok(()), Parts::judge)
    }
}

/// Finds four letters in any case, many bytes at a time, where the processor has something for that.
fn in_any_case(letters: [u8; 4]) -> Option<Searcher> {
    let cases = (0..16).map(|cases: u8| {
        let mut case = letters;
        case.iter_mut()
            .enumerate()
            .filter(|(at, _)| cases >> at & 1 == 1)
            .for_each(|(_, letter)| letter.make_ascii_uppercase());
        case
    });
    Builder::new().extend(cases).build()
}

/// Whether what a content type says of its charset has a byte for each character of ASCII.
fn is_ascii_in(value: &[u8]) -> bool {
    let value = String::from_utf8_lossy(value);
    let parameters = value.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim() == "charset").map(|(_, value)| value);
    charsets.all(|charset| ASCII.contains(&charset.trim().trim_matches(['"', '\''])))
}

fn refused(name: &str) -> Result<(), Refusal> {
    if may_override(name) { Err(overridden("the form", name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;
    use proptest::prelude::*;

    use super::super::overriding_parameter;
    use super::*;
    use crate::limit;

    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    const MULTIPART: &str = "multipart/form-data; boundary=x";

    fn watch(types: &[&'static str]) -> Option<FormWatch> {
        let field = |value: &&'static str| (CONTENT_TYPE, HeaderValue::from_static(value));
        FormWatch::of(&HeaderMap::from_iter(types.iter().map(field)))
    }

    /// How many pieces passed, and what came of the last.
    fn passed<'a>(kind: &'static str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (usize, Result<(), Refusal>) {
        let mut watch = watch(&[kind]).unwrap();
        for (index, piece) in pieces.into_iter().enumerate() {
            if let Err(refusal) = watch.push(piece) {
                return (index, Err(refusal));
            }
        }
        (usize::MAX, watch.finish())
    }

    fn passes(kind: &'static str, text: &str) -> bool {
        let whole = passed(kind, [text.as_bytes()]).1.is_ok();
        for cut in [1, 2, 7] {
            assert_eq!(passed(kind, text.as_bytes().chunks(cut)).1.is_ok(), whole, "{cut}: {text}");
        }
        whole
    }

    fn part(field: &str) -> String {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n{field}\r\n\r\nDELETE\r\n--x--\r\n"
        )
    }

    #[test]
    fn what_says_that_it_is_a_form_or_nothing_is_read_as_one() {
        let of = |types: &[&'static str]| {
            watch(types).map(|watch| (watch.pairs.is_some(), watch.parts.is_some(), watch.members.is_some()))
        };
        assert_eq!(of(&[]), Some((true, false, false)));
        assert_eq!(of(&["application/X-WWW-form-urlencoded; charset=utf-8"]), Some((true, false, false)));
        assert_eq!(of(&[JSON, FORM]), Some((true, false, true)));
        assert_eq!(of(&["Multipart/form-data; boundary=x"]), Some((false, true, false)));
        assert_eq!(of(&[FORM, MULTIPART]), Some((true, true, false)));
        assert_eq!(of(&["application/vnd.api+JSON; charset=utf-8"]), Some((false, false, true)));
        assert_eq!(of(&["application/octet-stream"]), None);
    }

    #[test]
    fn a_pair_that_overrides_is_found_wherever_it_is_and_others_pass() {
        let long = "x".repeat(100_000);
        for pair in [
            "_method=DELETE",
            "_METHOD",
            "%5f%6Dethod=x",
            "++%20_method=x",
            "_method%5B%5D=x",
            "_method.a=x",
            "_method%00a=x",
            "_HttpMethod=x",
            "X-HTTP-Method-Override%20%20[=x",
        ] {
            for text in [
                pair.to_owned(),
                format!("a={long}&{pair}"),
                format!("{long};{pair}&b=1"),
                format!("{}{pair}", "+".repeat(9000)),
            ] {
                assert!(!passes(FORM, &text), "{pair}");
            }
        }
        for text in [
            "",
            "method=x",
            "a=_method",
            "a_method=x",
            "_methods=x",
            "a[_method]=x",
            "%25_method=x",
            "+method=x",
            "{\"_method\":1}",
            "_metho%",
            "x-http-method-overrides=x",
        ] {
            assert!(passes(FORM, text) && passes(FORM, &format!("{long}&{text}&{long}={long}")), "{text}");
        }
    }

    #[test]
    fn a_member_that_overrides_is_found_and_what_is_within_a_value_is_none() {
        let long = "x".repeat(100_000);
        for text in [
            r#"{"_method":"DELETE"}"#,
            "{\"a\":[{\"b\":1}],\r\n\t\"_METHOD\" \n : 1",
            r#"{"\u005fmeth\u006Fd":1}"#,
            r#"{"a":"\"}{","_method":1}"#,
            r#"{"a\\":"\\","X-HTTP-Method-Override":1}"#,
            "\u{feff}{\"_HttpMethod\":1}",
            &format!(r#"{{"a":"{long}","{long}":"\"{long}","_method":1}}"#),
        ] {
            assert!(!passes(JSON, text), "{text:.200}");
        }
        for text in [
            "",
            "[",
            r#"{"a":{"_method":1},"b":[{"_method":1}]}"#,
            r#"[{"_method":1}]"#,
            r#"{"a":"_method","@method":1,"method":2,"_methods":3,"_method\n":4,"_method\u0000":5}"#,
            r#"{"a":"\"_method\":1"}"#,
            r#""_method":1"#,
            &format!(r#"{{"_method{long}":"{long}"}}"#),
        ] {
            assert!(passes(JSON, text), "{text:.200}");
        }
    }

    #[test]
    fn a_charset_in_which_names_are_written_otherwise_is_refused_and_messages_are_no_json() {
        for charset in ["utf-16BE", "IBM037", "utf-7", "\"utf-16\"", "utf-8 ; charset = utf-32", ""] {
            let kind = format!("application/x-www-form-urlencoded; charset={charset}");
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(&kind).unwrap())]);
            let refused = FormWatch::of(&headers).unwrap().push(b"%00_");
            assert!(matches!(refused, Err(Refusal::UnexaminedBody(_))), "{charset}");
        }
        assert!(passed("application/x-www-form-urlencoded; charset=\"UTF-8\"", [&b"a=1"[..]]).1.is_ok());
        assert!(passed("application/json; charset=utf-16", [&b"{}"[..]]).1.is_ok());
        assert!(watch(&["application/grpc+json"]).is_none() && watch(&["application/connect+json"]).is_none());
    }

    #[test]
    fn nothing_of_the_value_passes() {
        let text = b"a=1&_method=DELETE";
        let (pieces, refused) = passed(FORM, text.chunks(1));
        assert!(pieces <= b"a=1&_method=".len() && refused.is_err(), "{pieces}");
        let text = br#"{"_method":"DELETE"}"#;
        let (pieces, refused) = passed(JSON, text.chunks(1));
        assert!(pieces < text.len() && text[..pieces].ends_with(b"d\"") && refused.is_err(), "{pieces}");
        let text = part("Content-Disposition: form-data; name=\"_method\"");
        let (pieces, refused) = passed(MULTIPART, text.as_bytes().chunks(1));
        assert!(pieces < text.find("DELETE").unwrap() && refused.is_err(), "{pieces}");
    }

    #[test]
    fn a_part_that_overrides_is_found_however_its_name_is_written() {
        for field in [
            "Content-Disposition: form-data; name=\"_method\"",
            "content-disposition:form-data;name=_method",
            "CONTENT-DISPOSITION \t: form-data; NAME = '_Method'",
            "Content-Disposition: form-data; filename=\"a;b\"; name=\"_method\"",
            "Content-Disposition: form-data;\r\n name=\"_method\"",
            "Content-Disposition: form-data;\n\tname=\r\n \"_method\"",
            "Content-Disposition: form-data; name=\"_\\method\"",
            "Content-Disposition: form-data; name=\"%5Fmethod[]\"",
            "Content-Disposition: form-data; name*=utf-8''%5fmethod; filename=\"it's\"",
            "Content-Disposition: form-data; name*0=\"_me\"; name*1=\"thod\"",
            "Content-Disposition: form-data; name=\"=?utf-8?q?=5Fmethod?=\"",
            "X: 1\r Content-Disposition: form-data; name=_httpmethod",
            "Content-Disposition: form-data; a=b=c; name = \t\"_method\"",
            "Content-ID: <_method>",
            "Content-Disposition: form-data; name=_method",
        ] {
            assert!(!passes(MULTIPART, &part(field)), "{field}");
            assert!(!passes(MULTIPART, &part(field).replace("\r\n", "\n")), "{field}");
        }
        for field in [
            "Content-Disposition: form-data; name=\"a_method\"",
            "Content-Disposition: form-data; name=\"file\"; filename=\"_method\"",
            "Content-Type: text/plain; name=_method",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-ID: <1@example.com>",
            "\"content-disposition\" name=_method",
            "X: Content-Disposition: form-data; name=_method",
            "Content-Disposition: form-data; name=\"a\"\r\n\r\n name=\"_method\"",
        ] {
            assert!(passes(MULTIPART, &part(field)), "{field}");
        }
    }

    #[test]
    fn a_field_beyond_the_bound_is_refused_and_what_a_file_holds_is_not_kept() {
        let padded =
            |count: usize| part(&format!("Content-Disposition: form-data; a={}; name=\"b\"", "x".repeat(count)));
        assert!(passes(MULTIPART, &padded(limit::PART_FIELD / 2)) && !passes(MULTIPART, &padded(limit::PART_FIELD)));
        assert!(passes(MULTIPART, &part(&"content-type content- ".repeat(10_000))));
        // A script that sends forms itself, in one line.
        assert!(passes(MULTIPART, &part(&"a(`Content-Disposition: form-data; name=\"_method\"`);".repeat(1000))));
        assert!(!passes(MULTIPART, &part(&format!("Content-Disposition: {}", "name=".repeat(700)))));
        assert!(!passes(MULTIPART, &part(&format!("Content-Disposition: name*=utf-8'{}'_method", "x".repeat(500)))));
        assert!(passes(MULTIPART, &part("Content-Disposition: name*=utf-8'en'%c3%a9; a=b")));
    }

    /// An object, some of whose texts and names may be taken for what they are not.
    fn object() -> impl Strategy<Value = serde_json::Value> {
        let text = || {
            let texts = [
                "_method",
                "a",
                "_METHOD",
                "\"_method\":1",
                "{\"_method\":",
                "}",
                "[",
                "\\",
                "\"",
                "x-http-method-override",
                "_methods",
                "\t",
            ];
            prop::sample::select(texts.map(str::to_owned).to_vec())
        };
        let leaf =
            prop_oneof![text().prop_map(serde_json::Value::from), any::<i32>().prop_map(serde_json::Value::from)];
        let object =
            move |inner| prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| map.into_iter().collect());
        let value = leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array), object(inner)]
        });
        object(value.boxed())
    }

    proptest! {
        #[test]
        fn of_an_object_its_own_members_are_found_and_nothing_else(
            object in object(), pretty: bool, escaped: bool, cut in 1usize..40,
        ) {
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
            let text = if escaped { text.replace("method", "\\u006detho\\u0064") } else { text };
            let parameters = ["_method", "_httpmethod", "x-http-method-override"];
            let overrides = |name: &String| parameters.iter().any(|one| name.eq_ignore_ascii_case(one));
            let expected = object.as_object().unwrap().keys().any(overrides);
            prop_assert_eq!(passed(JSON, [text.as_bytes()]).1.is_err(), expected, "{}", text);
            prop_assert_eq!(passed(JSON, text.as_bytes().chunks(cut)).1.is_err(), expected, "{} by {}", text, cut);
        }

        /// However it is cut it is judged alike, and what a reader of the whole finds is found.
        #[test]
        fn a_form_is_judged_alike_however_it_is_cut(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "_method", "_", "%5F", "%5f", "%", "method", "METHOD", "%6d", "ethod", "=", "&", ";", "+", "%20", "[", "%00", ".", "a",
                "x-http-method-override", "_httpmethod", "-", "\u{e9}", "\r\n", "Content-Disposition", "content-", ":", " name=", "name*=",
                "\"", "'", "Content-ID", "\t", "\\", "{", "}", "[", "u005f", "\"_method\"",
            ]), 0..16),
            cuts in prop::collection::vec(0usize..200, 0..6),
            kind in prop::sample::select(vec![FORM, MULTIPART, JSON]),
        ) {
            let text = pieces.concat();
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let (_, cut) = passed(kind, cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]));
            let (_, whole) = passed(kind, [text]);
            prop_assert_eq!(cut.is_err(), whole.is_err(), "{:?}", pieces.concat());
            if kind == FORM && overriding_parameter(text).is_some() {
                prop_assert!(whole.is_err(), "{:?}", pieces.concat());
            }
        }
    }
}
