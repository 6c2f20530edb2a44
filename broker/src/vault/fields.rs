//! The fields of a secret that a Vault server answers with.
//!
//! Enters: JSON that somebody hostile may have written. Leaves: the text of one field. Never: one of two fields of the same name.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::secret::Secret;

/// Secrets have a handful of fields.
const MAX_FIELDS: usize = 256;

/// The fields of a secret. No name comes twice.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, Field)>);

#[derive(Debug)]
enum Field {
    Text(Secret),
    Nested(Fields),
    Other,
}

impl Fields {
    /// The field of this name, or the only one that there is.
    pub fn choose(self, name: Option<&str>) -> Result<Secret, &'static str> {
        let field = match name {
            Some(name) => self.0.into_iter().find(|(own, _)| own == name),
            None if self.0.len() > 1 => return Err("it has more than one field: name the credential's by `field`"),
            None => self.0.into_iter().next(),
        };
        match field {
            Some((_, Field::Text(secret))) if !secret.expose().is_empty() => Ok(secret),
            Some((_, Field::Text(_))) => Err("the field is empty"),
            Some(_) => Err("the field is no text"),
            None => Err("it has no such field"),
        }
    }

    /// KV version 2 has the fields one level below, beside what it knows of them.
    pub(super) fn flattened(mut self) -> Fields {
        let named =
            |name: &str| self.0.iter().position(|(own, value)| own == name && matches!(value, Field::Nested(_)));
        match (self.0.len(), named("data"), named("metadata")) {
            (2, Some(at), Some(_)) => match self.0.swap_remove(at).1 {
                Field::Nested(fields) => fields,
                Field::Text(_) | Field::Other => Fields::default(),
            },
            _ => self,
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Fields, D::Error> {
        json.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Field, D::Error> {
        json.deserialize_any(FieldVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields: Vec<(String, Field)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.len() == MAX_FIELDS || fields.iter().any(|(own, _)| *own == name) {
                return Err(A::Error::custom("too many fields, or one twice"));
            }
            fields.push((name, map.next_value()?));
        }
        Ok(Fields(fields))
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Secret::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field, A::Error> {
        FieldsVisitor.visit_map(map).map(Field::Nested)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }
}
