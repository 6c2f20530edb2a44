//! JSON with one reading.
//!
//! Enters: the bytes of a body. Leaves: their value. Never: a value that another reader could take for something else: no key
//! twice in an object, at any depth; no letter of a key hidden in an escape; no lone surrogate; no byte order mark; nothing
//! before or behind the value but space.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::printable;

/// A body that is no JSON, or JSON with several readings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Reads one JSON text, in which keys that differ only in case count as the same: for some readers they are. Nesting is bounded
/// by serde_json at 128.
///
/// # Errors
/// [`Unreadable`] says what is in the way of a single reading.
pub fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    read_by(Strict { folded: true }, bytes)
}

/// The same for what an upstream says. Schemas may well have properties that differ in case alone.
pub(super) fn read_answer(bytes: &[u8]) -> Result<Value, Unreadable> {
    read_by(Strict { folded: false }, bytes)
}

fn read_by(strict: Strict, bytes: &[u8]) -> Result<Value, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Unreadable(format!("it is not UTF-8: {error}")))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = strict.deserialize(&mut json).map_err(|error| Unreadable(error.to_string()))?;
    json.end().map_err(|error| Unreadable(error.to_string()))?;
    Ok(value)
}

/// A key of `object` that some readers would take for one of `known`: in another case, or in letters that fold into ASCII.
pub(super) fn misspelt<'a>(object: &'a Map<String, Value>, known: &[&str]) -> Option<&'a String> {
    let alike = |key: &&String| {
        !key.is_ascii() || known.iter().any(|known| key.eq_ignore_ascii_case(known) && key.as_str() != *known)
    };
    object.keys().find(alike)
}

/// As readers that do not mind case compare. Upper case first: it also folds the long s, and then the Kelvin sign.
fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[derive(Clone, Copy)]
struct Strict {
    folded: bool,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut object, mut seen) = (Map::new(), HashSet::new());
        while let Some(key) = members.next_key_seed(Key)? {
            let fresh = if self.folded { seen.insert(fold(&key)) } else { !object.contains_key(&key) };
            if !fresh {
                return Err(A::Error::custom(format!("the key `{}` comes twice", printable(key.as_bytes()))));
            }
            object.insert(key, members.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

/// A key. serde_json lends it only where there is no escape in it.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    /// Writers escape quotes, slashes and what is not ASCII. A word of letters is escaped only to hide it.
    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(E::custom(format!("the key `{key}` is written with an escape")));
        }
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
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
                prop_assert_eq!(&value, &serde_json::from_str::<Value>(&text).unwrap(), "{}", text);
                prop_assert_eq!(keys(&text), distinct_keys(&value), "{}", text);
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
            prop_assert_eq!(read(written.as_bytes()).unwrap(), Value::Object(object.clone()));
            let twin = twin.get(&object.keys().cloned().collect::<Vec<_>>()).to_ascii_uppercase();
            let twice = format!("{},\"{twin}\":0}}", &written[..written.len() - 1]);
            prop_assert!(read(twice.as_bytes()).is_err(), "{}", twice);
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
