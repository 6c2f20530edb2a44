//! What a line may look like, as a JSON Schema (2020-12) that others can check lines against.
//!
//! Enters: the types of `event`, with what is said of each field there, and `shape`, which has what they leave open. Leaves: the schema, as
//! it lies beside this crate; a test makes it anew and compares. Never: a field that a line may have and the schema does not name.
//!
//! `EXEAT_WRITE_SCHEMA=1 cargo test -p exeat-record schema` writes it anew.

/// The schema of the records that are written here.
pub const SCHEMA: &str = include_str!("../schema/call-record-2.schema.json");

#[cfg(test)]
mod shape;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use schemars::generate::SchemaSettings;
    use serde_json::{Map, Value, json};

    use super::{SCHEMA, shape};
    use crate::event::{FORMAT, Line};

    /// Where the schema would be, were it served. A name, which nothing asks for.
    fn id() -> String {
        format!("https://exeat.invalid/schema/call-record-{FORMAT}.schema.json")
    }

    /// As the types have it, and strict.
    fn made() -> Value {
        let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
        // What others report, which the types have as any value.
        for _ in [
            generator.subschema_for::<shape::Sandbox>(),
            generator.subschema_for::<shape::Lock>(),
            generator.subschema_for::<shape::Met>(),
        ] {}
        let mut schema = generator.into_root_schema_for::<Line>().to_value();
        let root = schema.as_object_mut().unwrap();
        root.insert("$id".to_owned(), id().into());
        root.insert("title".to_owned(), format!("exeat call record, format {FORMAT}").into());
        let mut definitions = root.remove("$defs").unwrap();
        // What a record has beside its number, time and hash is said by its kind of event, whose definition is one part of the whole.
        let parts: BTreeSet<String> = root["oneOf"].as_array().unwrap().iter().filter_map(referred).collect();
        for (name, definition) in definitions.as_object_mut().unwrap() {
            strict(definition, !parts.contains(name));
        }
        strict(&mut schema, false);
        schema["$defs"] = definitions;
        schema["unevaluatedProperties"] = false.into();
        for (of, field, look) in shape::looks() {
            let place = format!("{}/properties/{field}", definition(&schema, of));
            let property = schema.pointer_mut(&place).unwrap_or_else(|| panic!("there is no {of}.{field} any more"));
            merge(property, &look);
        }
        schema
    }

    /// Where it is said what a type has, or an event that has no type of its own; nothing: what every record has.
    fn definition(schema: &Value, of: &str) -> String {
        let is_event = |part: &Value| part["properties"]["event"]["const"] == of;
        match schema["oneOf"].as_array().unwrap().iter().position(is_event) {
            Some(number) => format!("/oneOf/{number}"),
            None if of.is_empty() => String::new(),
            None => format!("/$defs/{of}"),
        }
    }

    fn merge(property: &mut Value, look: &Value) {
        match (property, look) {
            (Value::Object(property), Value::Object(look)) => {
                for (key, value) in look {
                    merge(property.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (property, look) => *property = look.clone(),
        }
    }

    impl schemars::JsonSchema for crate::hash::Hash {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Hash".into()
        }

        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({ "type": "string", "pattern": shape::SHA256 })
        }
    }

    fn referred(part: &Value) -> Option<String> {
        Some(part.get("$ref")?.as_str()?.rsplit('/').next()?.to_owned())
    }

    /// A field that is there has a value, and where all fields are known there is no other.
    fn strict(value: &mut Value, whole: bool) {
        let Value::Object(schema) = value else { return };
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
        if schema.get("format").is_some_and(|format| format != "date-time") {
            // The generator's own words for widths of numbers; the specification has none.
            schema.remove("format");
        }
        let required: BTreeSet<String> =
            serde_json::from_value(schema.get("required").cloned().unwrap_or(json!([]))).unwrap();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, property) in properties.iter_mut() {
                if let (false, Value::Object(property)) = (required.contains(name), &mut *property) {
                    without_null(property);
                }
                if let Value::Object(property) = &mut *property {
                    property.remove("default");
                }
                strict(property, true);
            }
            if whole && !schema.contains_key("additionalProperties") {
                schema.insert("additionalProperties".to_owned(), false.into());
            }
        }
        for part in ["oneOf", "anyOf"] {
            if let Some(Value::Array(parts)) = schema.get_mut(part) {
                parts.iter_mut().for_each(|part| strict(part, whole));
            }
        }
        if let Some(items) = schema.get_mut("items") {
            strict(items, true);
        }
    }

    fn without_null(property: &mut Map<String, Value>) {
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                property.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(parts)) = property.get("anyOf") {
            let rest: Vec<_> = parts.iter().filter(|part| part.get("type") != Some(&json!("null"))).cloned().collect();
            if let [Value::Object(only)] = &rest[..] {
                property.remove("anyOf");
                property.extend(only.clone());
            }
        }
    }

    #[test]
    fn the_schema_is_that_of_the_types() {
        let made = serde_json::to_string_pretty(&made()).unwrap() + "\n";
        if std::env::var_os("EXEAT_WRITE_SCHEMA").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/call-record-2.schema.json");
            std::fs::write(file, &made).unwrap();
            return;
        }
        assert!(
            made == SCHEMA,
            "the types of a record have changed: EXEAT_WRITE_SCHEMA=1 cargo test -p exeat-record schema"
        );
    }

    /// Every field anywhere in it: (where it is, what is said of it).
    fn fields(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                found.push((format!("{path}/{name}"), property.clone()));
            }
        }
        match schema {
            Value::Object(parts) => parts.iter().for_each(|(key, part)| fields(part, &format!("{path}/{key}"), found)),
            Value::Array(parts) => parts.iter().for_each(|part| fields(part, path, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_of_the_schema_says_what_it_means() {
        let mut found = Vec::new();
        fields(&serde_json::from_str(SCHEMA).unwrap(), "", &mut found);
        assert!(found.len() > 90, "{}", found.len());
        for (path, field) in found {
            let is_choice = path.ends_with("/event") || path.ends_with("/ports");
            let said = is_choice || field.get("description").is_some();
            assert!(said, "{path} does not say what it means");
        }
    }
}
