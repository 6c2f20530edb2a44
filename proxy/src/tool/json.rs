//! A value of which nothing is read but what is asked for.
//!
//! Enters: JSON that has one reading. Leaves: its parts, each where it stands in the text. Never: a part that was not asked for in memory; a
//! key that some reader might take for one that was asked for, unsaid.

use std::borrow::Cow;

use serde_json::Value;

use super::walk::{Kind, Piece, Walk};
use crate::limit;

/// A value, where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(&'a str);

/// The members of an object that were asked for.
#[derive(Debug)]
pub(super) struct Members<'a, 'n> {
    names: &'n [&'n str],
    found: Vec<(&'n str, Json<'a>)>,
    other: Option<String>,
    misspelt: Option<String>,
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// As it is written.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What has no parts.
    pub(super) fn scalar(self) -> Option<Value> {
        let has_parts = self.text().starts_with(['[', '{']);
        if has_parts { None } else { serde_json::from_str(self.text()).ok() }
    }

    pub(super) fn string(self) -> Option<String> {
        match self.scalar()? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(self) -> bool {
        self.text() == "null"
    }

    /// Those of an object's members that have one of `names`.
    pub(super) async fn members<'n>(self, names: &'n [&'n str]) -> Option<Members<'a, 'n>> {
        let mut members = Members { names, found: Vec::new(), other: None, misspelt: None };
        let mut parts = Parts::of(self, Kind::Object).await?;
        while let Some((key, value)) = parts.next().await {
            members.take(key?, value);
        }
        Some(members)
    }

    /// The elements of an array, if it is one.
    pub(super) async fn elements(self) -> Option<Elements<'a>> {
        Parts::of(self, Kind::Array).await.map(Elements)
    }

    /// What comes alone, or in an array with others (then true), of which no more are told than one more than a batch may have.
    pub(super) async fn batch(self) -> (Vec<Json<'a>>, bool) {
        let Some(mut elements) = self.elements().await else { return (vec![self], false) };
        let mut all = Vec::new();
        while all.len() <= limit::BATCH {
            match elements.next().await {
                Some(one) => all.push(one),
                None => break,
            }
        }
        (all, true)
    }
}

/// The elements of an array, one after the other.
pub(super) struct Elements<'a>(Parts<'a>);

impl<'a> Elements<'a> {
    pub async fn next(&mut self) -> Option<Json<'a>> {
        self.0.next().await.map(|(_, element)| element)
    }
}

/// The parts of an object or array, with their keys.
struct Parts<'a>(Walk<'a>);

impl<'a> Parts<'a> {
    async fn of(whole: Json<'a>, kind: Kind) -> Option<Self> {
        let mut walk = Walk::new(whole.text());
        let begins = walk.next().await;
        matches!(begins, Ok(Some(Piece::Begin(begun))) if begun == kind).then_some(Self(walk))
    }

    async fn next(&mut self) -> Option<(Option<Cow<'a, str>>, Json<'a>)> {
        let Self(walk) = self;
        let (mut key, mut begin) = (None, 0);
        loop {
            // Its text has been read before.
            let piece = walk.next().await.ok()??;
            match (piece, walk.depth()) {
                (Piece::Key(name), 1) => key = Some(name),
                (Piece::Begin(_), 2) => begin = walk.value(),
                (Piece::End(_), 1) => return Some((key, Json(walk.since(begin)))),
                (Piece::Scalar, 1) => return Some((key, Json(walk.since(walk.value())))),
                _ => {}
            }
        }
    }
}

impl<'a> Members<'a, '_> {
    fn take(&mut self, key: Cow<'_, str>, value: Json<'a>) {
        if let Some(name) = self.names.iter().find(|name| **name == key) {
            self.found.push((name, value));
            return;
        }
        let odd = |byte: &u8| !byte.is_ascii() || byte.is_ascii_control();
        let alike = key.as_bytes().iter().any(odd) || self.names.iter().any(|name| key.eq_ignore_ascii_case(name));
        if alike && self.misspelt.is_none() {
            self.misspelt = Some(key.clone().into_owned());
        }
        if self.other.is_none() {
            self.other = Some(key.into_owned());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Json<'a>> {
        self.found.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A key that was not asked for.
    pub(super) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// A key that some readers would take for one that was: in another case, in letters that fold into ASCII, or up to a NUL.
    pub(super) fn misspelt(&self) -> Option<&str> {
        self.misspelt.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::at_once;

    fn json(text: &str) -> Json<'_> {
        at_once(super::super::read(text.as_bytes())).unwrap()
    }

    #[test]
    fn an_object_tells_what_was_asked_for_and_what_some_would_take_for_it() {
        let object = json(r#"{"x":[1],"name":"a","uri":{ "b":2 }}"#);
        let object = at_once(object.members(&["name", "uri"])).unwrap();
        assert_eq!(object.get("name").unwrap().string().unwrap(), "a");
        assert_eq!(object.get("uri").unwrap().text(), r#"{ "b":2 }"#);
        assert_eq!((object.get("x").map(Json::text), object.other(), object.misspelt()), (None, Some("x"), None));
        for (text, misspelt) in [
            (r#"{"Name":1}"#, Some("Name")),
            (r#"{"na\u200bme":1}"#, Some("na\u{200b}me")),
            ("{\"\u{212a}ind\":1}", Some("\u{212a}ind")),
            (r#"{"x":1,"NAME":2}"#, Some("NAME")),
            (r#"{"name":1,"names":2}"#, None),
        ] {
            assert_eq!(at_once(json(text).members(&["name"])).unwrap().misspelt(), misspelt, "{text}");
        }
        for text in ["[]", "null", "1", "\"{}\""] {
            assert!(at_once(json(text).members(&["name"])).is_none(), "{text}");
        }
    }

    #[test]
    fn what_comes_alone_is_no_batch_and_of_a_batch_one_too_many_is_enough() {
        let text = |value: &Json<'_>| value.text().to_owned();
        let told = |all: &str| {
            let (all, several) = at_once(json(all).batch());
            (all.iter().map(text).collect::<Vec<_>>(), several)
        };
        assert_eq!(told(r#" {"a":[1]} "#), (vec![r#"{"a":[1]}"#.to_owned()], false));
        assert_eq!(told("[ 1 , [2] ]"), (vec!["1".to_owned(), "[2]".to_owned()], true));
        assert_eq!(told("[]"), (vec![], true));
        assert_eq!(told(&format!("[{}0]", "0,".repeat(9999))).0.len(), limit::BATCH + 1);
    }

    #[test]
    fn what_has_parts_is_no_scalar() {
        assert_eq!(json("[1]").scalar().or(json("{}").scalar()), None);
        assert_eq!(json(r#""\u00e9""#).string().unwrap(), "é");
        assert_eq!(
            (json("null").scalar(), json("1").string(), json(" null ").is_null()),
            (Some(Value::Null), None, true)
        );
    }
}
