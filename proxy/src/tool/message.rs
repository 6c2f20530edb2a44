//! JSON with one reading.
//!
//! Enters: the bytes of a body. Leaves: where its value stands. Never: a value that another reader could take for something else: no key
//! twice in an object, at any depth; no letter of a key hidden in an escape; no lone surrogate; no byte order mark; nothing
//! before or behind the value but space. Nor the value itself: in memory it would take a hundred times what it is written in. Nor a turn as long
//! as the body.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use super::json::Json;
use super::walk::{Kind, Piece, Walk};
use crate::error::printable;

/// A body that is no JSON, or JSON with several readings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub(super) String);

/// Reads one JSON text, in which keys that differ only in case count as the same: for some readers they are. A long one takes
/// several turns.
///
/// # Errors
/// [`Unreadable`] says what is in the way of a single reading.
pub async fn read(bytes: &[u8]) -> Result<Json<'_>, Unreadable> {
    read_by(&mut Strict::new(true), bytes).await
}

/// The same for what an upstream says. Schemas may well have properties that differ in case alone.
pub(super) async fn read_answer(bytes: &[u8]) -> Result<Json<'_>, Unreadable> {
    read_by(&mut Strict::new(false), bytes).await
}

async fn read_by<'a>(strict: &mut Strict<'a>, bytes: &'a [u8]) -> Result<Json<'a>, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unreadable(format!("it is not UTF-8: {error}")))?;
    let mut walk = Walk::new(text);
    while let Some(piece) = walk.next().await? {
        strict.take(piece)?;
    }
    Ok(Json::new(text.trim_matches([' ', '\t', '\r', '\n'])))
}

/// So many keys of an object are compared with each other one by one.
const FEW: usize = 16;
/// Longer ones are known by a number from the first on.
const SHORT: usize = 256;

/// Keeps nothing of a value but which keys the objects have that it is in.
#[derive(Default)]
struct Strict<'a> {
    folded: bool,
    objects: Vec<Object>,
    /// The first few of each.
    keys: Vec<Cow<'a, str>>,
    numbers: RandomState,
}

struct Object {
    /// Of its keys among all.
    begin: usize,
    /// All its keys, where they are many. A tree, as a table that grows has all of them moved in one turn.
    many: Option<BTreeSet<u64>>,
}

impl<'a> Strict<'a> {
    fn new(folded: bool) -> Self {
        Self { folded, ..Self::default() }
    }

    fn take(&mut self, piece: Piece<'a>) -> Result<(), Unreadable> {
        match piece {
            Piece::Begin(Kind::Object) => self.objects.push(Object { begin: self.keys.len(), many: None }),
            Piece::End(Kind::Object) => self.keys.truncate(self.objects.pop().map_or(0, |object| object.begin)),
            Piece::Key(key) if !self.is_new(key.clone()) => {
                return Err(Unreadable(format!("the key `{}` comes twice", printable(key.as_bytes()))));
            }
            Piece::Key(_) | Piece::Begin(Kind::Array) | Piece::End(Kind::Array) | Piece::Scalar => {}
        }
        Ok(())
    }

    /// Whether `key` is new to the object that it is in. Where there are many, each is known by a number: two keys have the same
    /// once in millions of the largest bodies, and are taken for one then.
    fn is_new(&mut self, key: Cow<'a, str>) -> bool {
        let Some(Object { begin, mut many }) = self.objects.pop() else { return false };
        let before = &self.keys[begin..];
        let new = if before.len() < FEW && key.len() <= SHORT {
            let new = !before.iter().any(|other| self.alike(other, &key));
            let new = new && many.as_mut().is_none_or(|many| many.insert(self.number(&key)));
            self.keys.push(key);
            new
        } else {
            let all = || before.iter().map(|key| self.number(key)).collect();
            many.get_or_insert_with(all).insert(self.number(&key))
        };
        self.objects.push(Object { begin, many });
        new
    }

    fn alike(&self, one: &str, other: &str) -> bool {
        match self.folded {
            true if one.is_ascii() && other.is_ascii() => one.eq_ignore_ascii_case(other),
            true => fold(one).eq(fold(other)),
            false => one == other,
        }
    }

    fn number(&self, key: &str) -> u64 {
        match self.folded {
            true => self.numbers.hash_one(fold(key).collect::<String>()),
            false => self.numbers.hash_one(key),
        }
    }
}

/// As readers that do not mind case compare. Upper case first: it also folds the long s, and then the Kelvin sign.
fn fold(key: &str) -> impl Iterator<Item = char> {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use std::collections::HashSet;

    use super::*;
    use crate::turn::at_once;

    fn read(bytes: &[u8]) -> Result<Json<'_>, Unreadable> {
        at_once(super::read(bytes))
    }

    fn read_answer(bytes: &[u8]) -> Result<Json<'_>, Unreadable> {
        at_once(super::read_answer(bytes))
    }

    #[test]
    fn what_has_several_readings_is_not_read() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":[{"y":{"a":1,"a":1}}]}"#,
            r#"{"\u0061":1}"#,
            r#"{"\u006dethod":1}"#,
            r#"{"é":1,"\u00e9":2}"#,
            r#"{"a":1} {"a":2}"#,
            r#"{"a":1}x"#,
            "\u{feff}{}",
            r#""\ud800""#,
            r#""\udc00x""#,
            "{\"a\":\"\0\"}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{\"a\":1,}",
            "/**/{}",
            "",
            &"[".repeat(200),
            &format!("{}1{}", "[".repeat(200), "]".repeat(200)),
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
            assert!(read_answer(text.as_bytes()).is_err(), "{text}");
        }
        for bytes in [&b"{\"a\":\"\xff\"}"[..], b"{\0\"a\":1}", b"{\"a\xc0\xaf\":1}"] {
            assert!(read(bytes).is_err());
        }
    }

    #[test]
    fn keys_that_differ_in_case_alone_are_the_same_to_a_request() {
        for text in
            [r#"{"a":1,"A":2}"#, r#"{"params":1,"param\u017f":2}"#, r#"{"x":[{"k":1,"K":2}]}"#, r#"{"k":1,"K":2}"#]
        {
            assert!(read(text.as_bytes()).is_err(), "{text}");
            assert!(read_answer(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_has_one_reading_is_read_as_everybody_reads_it() {
        for text in [
            r#" {"a":{"b":[1,-2,3.5,null,true,"\u20ac\ud83d\ude00\"x"]},"B":{}} "#,
            r#"{"\u00e9":1,"a\/b":2,"a\"":3}"#,
            "[]",
            "\"x\"",
            "18446744073709551615",
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(read(text.as_bytes()).unwrap(), &value), value);
        }
    }

    #[test]
    fn of_a_body_that_is_all_objects_nothing_is_kept() {
        let text = format!("[{}0]", r#"{"":0},"#.repeat(1 << 17));
        let mut strict = Strict::new(true);
        let value = at_once(read_by(&mut strict, text.as_bytes())).unwrap();
        assert!(std::ptr::eq(value.text(), text.as_str()));
        // A map of values took 700 bytes for each.
        assert!(strict.keys.capacity() <= FEW, "{}", strict.keys.capacity());
    }

    #[test]
    fn keys_are_told_apart_however_many_there_are() {
        for count in [1, FEW - 1, FEW, FEW + 1, 10_000] {
            let object = |last: &str| {
                let keys: String = (0..count).map(|number| format!(r#""k{number}":{{"k0":0}},"#)).collect();
                format!(r#"{{{keys}"{last}":0}}"#)
            };
            let again = format!("k{}", count - 1);
            assert!(
                read(object("other").as_bytes()).is_ok() && read_answer(object("K0").as_bytes()).is_ok(),
                "{count}"
            );
            for twin in ["k0", "K0", "\u{212a}0", &again, &again.to_uppercase()] {
                assert!(read(object(twin).as_bytes()).is_err(), "{count}: {twin}");
            }
            for twin in ["k0", &again] {
                assert!(read_answer(object(twin).as_bytes()).is_err(), "{count}: {twin}");
            }
        }
    }

    #[test]
    fn arguments_may_be_as_large_as_a_body() {
        let numbers = format!("[{}0]", "0,".repeat(500_000));
        let points = format!("[{}0]", r#"{"x":1,"y":2},"#.repeat(70_000));
        for arguments in [numbers, points, format!("\"{}\"", "x".repeat(1 << 20))] {
            assert!(read(arguments.as_bytes()).is_ok());
        }
    }

    proptest! {
        /// What is accepted means to any reader what it means here: nothing is accepted where the last key wins for one reader
        /// and the first for another.
        #[test]
        fn what_is_accepted_is_read_alike_by_others(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"A\"", "\"\\u0061\"", "\"b\"", "\"\u{17f}\"", "\"s\"", "1", "null", "\"x\"", " ",
                "\"a\":1", "\"b\":{\"a\":2}", "\"id\":[1,{}]", "\u{feff}", "\"\\ud800\"", "\"\u{e9}\":1", "\"\\u00e9\":2", "0x1", "1.0",
            ]), 0..12),
        ) {
            let text = pieces.concat();
            if let Ok(value) = read(text.as_bytes()) {
                let other: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(whole(value, &other), other.clone(), "{}", text);
                prop_assert_eq!(keys(&text), distinct_keys(&other), "{}", text);
            }
        }

        /// Whatever one writes, one reads; with a key written once more, in another case, nobody does.
        #[test]
        fn what_is_written_once_is_read_and_what_is_written_twice_is_not(
            names in prop::collection::btree_set("[a-z]{1,6}", 1..6), number in any::<i64>(), text in any::<String>(), twin in any::<prop::sample::Index>(),
        ) {
            let mut object: Map<String, Value> = names.iter().map(|name| (name.clone(), Value::from(number))).collect();
            object.insert("text".to_owned(), Value::from(text));
            let written = serde_json::to_string(&object).unwrap();
            let value = Value::Object(object.clone());
            prop_assert_eq!(whole(read(written.as_bytes()).unwrap(), &value), value);
            let twin = twin.get(&object.keys().cloned().collect::<Vec<_>>()).to_ascii_uppercase();
            let twice = format!("{},\"{twin}\":0}}", &written[..written.len() - 1]);
            prop_assert!(read(twice.as_bytes()).is_err(), "{}", twice);
        }
    }

    /// All of it, where it has the keys of `other`, and no more.
    fn whole(value: Json<'_>, other: &Value) -> Value {
        match other {
            Value::Object(members) => {
                let names: Vec<&str> = members.keys().map(String::as_str).collect();
                let object = at_once(value.members(&names)).unwrap();
                assert_eq!(object.other(), None);
                let member = |(name, other): (&String, _)| (name.clone(), whole(object.get(name).unwrap(), other));
                members.iter().map(member).collect()
            }
            Value::Array(others) => {
                let mut others = others.iter();
                let mut elements = Vec::new();
                let mut parts = at_once(value.elements()).unwrap();
                while let Some(element) = at_once(parts.next()) {
                    elements.push(whole(element, others.next().unwrap()));
                }
                assert_eq!(others.next(), None);
                elements.into()
            }
            _ => value.scalar().unwrap(),
        }
    }

    /// How many keys are written in a text: none of its strings has a colon in it.
    fn keys(text: &str) -> usize {
        text.matches(':').count()
    }

    /// How many keys a value has, those that differ in case alone counted once.
    fn distinct_keys(value: &Value) -> usize {
        match value {
            Value::Array(elements) => elements.iter().map(distinct_keys).sum(),
            Value::Object(members) => {
                let folded: HashSet<String> = members.keys().map(|key| key.to_uppercase().to_lowercase()).collect();
                folded.len() + members.values().map(distinct_keys).sum::<usize>()
            }
            _ => 0,
        }
    }
}
