//! A walk over TOML that remembers where everything stands and goes on after a mistake.
//!
//! Enters: text. Leaves: checked values one by one, and at the end every mistake. Never: a guess at what was meant; a
//! value of the wrong type is a mistake, also where it could be converted.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Secrets;
use super::lines::Lines;
use crate::error::{LoadError, Malformed, Mistake, listed, quoted};

/// More than anybody reads; a file of nothing but mistakes does not grow a list without end.
const MAX_MISTAKES: usize = 100;

/// The text and what is wrong with it.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    pub lines: Lines<'a>,
    most: u64,
    secrets: Secrets,
    mistakes: Vec<Mistake>,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Field<'a> {
    /// Its full name, like `allow[2].to`.
    pub key: String,
    /// Where it starts, in bytes: a field at its key, an element of a list at its value.
    pub at: usize,
    value: &'a DeValue<'a>,
}

/// A table whose fields are taken one by one; what is left is unknown.
pub(super) struct Section<'a> {
    /// Its full name; empty for the file itself.
    pub key: String,
    /// Where it starts, in bytes.
    pub at: usize,
    fields: Vec<(&'a str, Field<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        let (most, secrets) = (super::MAX_FILE, Secrets::Read);
        Self { file, text, lines: Lines::of(text), most, secrets, mistakes: Vec::new() }
    }

    /// The same, of a file that may have so many bytes.
    pub fn up_to(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// The same, reading the files for secrets or leaving them alone.
    pub fn with(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    pub fn leaves_secrets_out(&self) -> bool {
        self.secrets == Secrets::LeftOut
    }

    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Runs `walk` over the file's table. Its value is returned if it made no mistake.
    pub fn read<T>(mut self, walk: impl FnOnce(&mut Reader<'a>, Section<'_>) -> T) -> Result<T, LoadError> {
        if self.text.len() as u64 > self.most {
            return Err(super::too_large(self.file, self.most));
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.mistake(String::new(), at, error.message().trim(), "the file is TOML, https://toml.io");
        }
        if !errors.is_empty() {
            return Err(LoadError::new(self.mistakes));
        }
        let value = walk(&mut self, Section::new(String::new(), 0, table.get_ref()));
        if self.mistakes.is_empty() { Ok(value) } else { Err(LoadError::new(self.mistakes)) }
    }

    pub fn file_name(&self) -> String {
        self.file.display().to_string()
    }

    /// Line and column, from 1.
    pub fn place(&self, at: usize) -> (usize, usize) {
        self.lines.place(at)
    }

    pub fn mistake(&mut self, key: String, at: usize, reason: impl Into<String>, remedy: impl Into<String>) {
        if self.mistakes.len() < MAX_MISTAKES {
            let (line, column) = self.place(at);
            let (file, reason, remedy) = (self.file_name(), reason.into(), remedy.into());
            self.mistakes.push(Mistake { file, line, column, key, reason, remedy });
        }
    }

    pub fn mistake_at(&mut self, field: &Field<'_>, reason: impl Into<String>, remedy: impl Into<String>) {
        self.mistake(field.key.clone(), field.at, reason, remedy);
    }

    /// Says what is wrong with a value that did not parse.
    pub fn kept<T>(&mut self, field: &Field<'_>, parsed: Result<T, Malformed>) -> Option<T> {
        parsed.map_err(|malformed| self.mistake_at(field, malformed.to_string(), malformed.hint())).ok()
    }

    fn expected<T>(&mut self, field: &Field<'_>, what: &str, example: &str) -> Option<T> {
        let reason = format!("{what} is expected here, not {}", described(field.value));
        self.mistake_at(field, reason, format!("write {example}"));
        None
    }

    /// A table.
    pub fn section<'f>(&mut self, field: &Field<'f>) -> Option<Section<'f>> {
        match field.value {
            DeValue::Table(table) => Some(Section::new(field.key.clone(), field.at, table)),
            // A table within a rule stands on one line with its key.
            _ if field.key.contains('.') => self.expected(field, "a table", &format!("`{} = {{ … }}`", field.name())),
            _ => self.expected(field, "a table", &format!("`[{}]`", field.key)),
        }
    }

    /// A list of tables.
    pub fn sections<'f>(&mut self, field: &Field<'f>) -> Vec<Section<'f>> {
        match field.value {
            DeValue::Array(_) => self.elements(field).iter().filter_map(|element| self.section(element)).collect(),
            _ => self.expected(field, "a list of tables", &format!("`[[{}]]`", field.key)).unwrap_or_default(),
        }
    }

    /// A string that `parse` takes.
    pub fn value<T>(&mut self, field: &Field<'_>, parse: impl Fn(&str) -> Result<T, Malformed>) -> Option<T> {
        match field.value {
            DeValue::String(text) if text.is_empty() => {
                self.mistake_at(field, "it is empty", "write a value, or leave the key out");
                None
            }
            DeValue::String(text) => self.kept(field, parse(text)),
            _ => self.expected(field, "a string", &format!("`{} = \"…\"`", field.name())),
        }
    }

    /// A list of strings that `parse` takes.
    pub fn words<T>(&mut self, field: &Field<'_>, parse: impl Fn(&str) -> Result<T, Malformed>) -> Option<Vec<T>> {
        Some(self.each(field, parse)?.into_iter().map(|(_, value)| value).collect())
    }

    /// A list of strings that `parse` takes, none of them twice.
    pub fn values<T: Eq + Hash + Display>(
        &mut self,
        field: &Field<'_>,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<Vec<T>> {
        let read = self.each(field, parse)?;
        let mut seen = HashSet::new();
        let first: Vec<bool> = read.iter().map(|(_, value)| seen.insert(value)).collect();
        let mut values: Vec<T> = Vec::with_capacity(read.len());
        for ((element, value), first) in read.into_iter().zip(first) {
            if first {
                values.push(value);
            } else {
                self.mistake_at(&element, format!("{} is listed twice", quoted(&value.to_string())), "list it once");
            }
        }
        Some(values)
    }

    /// A list that has at least one element; `without` says what it would mean to leave the key out.
    pub fn some_values<T: Eq + Hash + Display>(
        &mut self,
        field: &Field<'_>,
        without: &str,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<Vec<T>> {
        let values = self.values(field, parse)?;
        if values.is_empty() {
            self.mistake_at(field, "the list is empty, which would mean none at all", without);
        }
        (!values.is_empty()).then_some(values)
    }

    /// The elements of a list of anything.
    pub fn list<'f>(&mut self, field: &Field<'f>, example: &str) -> Option<Vec<Field<'f>>> {
        match field.value {
            DeValue::Array(_) => Some(self.elements(field)),
            _ => self.expected(field, "a list", &format!("`{} = {example}`", field.name())),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        match field.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.expected(field, "`true` or `false`", &format!("`{} = true`", field.name())),
        }
    }

    /// A whole number from 1.
    pub fn count(&mut self, field: &Field<'_>) -> Option<u32> {
        let count = match field.value {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        match count.filter(|&count| count > 0) {
            Some(count) => Some(count),
            None => self.expected(field, "a whole number from 1", &format!("`{} = 256`", field.name())),
        }
    }

    /// A number above zero.
    pub fn amount(&mut self, field: &Field<'_>) -> Option<f64> {
        let amount = match field.value {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok().map(f64::from),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => None,
        };
        match amount.filter(|amount| amount.is_finite() && *amount > 0.0) {
            Some(amount) => Some(amount),
            None => self.expected(field, "a number above 0", &format!("`{} = 1.5`", field.name())),
        }
    }

    /// The elements of a list with their places; `None` where one did not parse.
    fn each<'f, T>(
        &mut self,
        field: &Field<'f>,
        parse: impl Fn(&str) -> Result<T, Malformed>,
    ) -> Option<Vec<(Field<'f>, T)>> {
        let elements = self.list(field, "[\"…\"]")?;
        let count = elements.len();
        let mut parsed = Vec::with_capacity(count);
        for element in elements {
            parsed.extend(self.value(&element, &parse).map(|value| (element, value)));
        }
        (parsed.len() == count).then_some(parsed)
    }

    fn elements<'f>(&self, list: &Field<'f>) -> Vec<Field<'f>> {
        let DeValue::Array(elements) = list.value else { return Vec::new() };
        let element = |(i, value): (usize, &'f Spanned<DeValue<'f>>)| Field {
            key: format!("{}[{}]", list.key, i + 1),
            at: value.span().start,
            value: value.get_ref(),
        };
        elements.iter().enumerate().map(element).collect()
    }

    /// Says which fields of a section were not taken.
    pub fn nothing_else(&mut self, section: Section<'_>) {
        for (name, field) in section.fields {
            let remedy = match nearest(name, &section.known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", listed(&section.known)),
            };
            self.mistake_at(&field, format!("the key {} is not known", quoted(name)), remedy);
        }
    }

    /// Says that a section lacks a key.
    pub fn missing(&mut self, section: &Section<'_>, name: &str, example: &str) {
        self.mistake(section.key.clone(), section.at, format!("`{name}` is missing"), format!("add `{example}`"));
    }
}

impl Field<'_> {
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Its value, where that is a string.
    pub fn text(&self) -> Option<&str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub fn is_flag(&self) -> bool {
        self.value.is_bool()
    }

    /// The last part of its key, without an index.
    fn name(&self) -> &str {
        let name = self.key.rsplit('.').next().unwrap_or_default();
        name.split('[').next().unwrap_or(name)
    }
}

impl<'a> Section<'a> {
    fn new(key: String, at: usize, table: &'a DeTable<'a>) -> Self {
        let field = |(name, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let own = quoted_key(name.get_ref());
            let full = if key.is_empty() { own } else { format!("{key}.{own}") };
            (&**name.get_ref(), Field { key: full, at: name.span().start, value: value.get_ref() })
        };
        let fields = table.iter().map(field).collect();
        Self { key, at, fields, known: Vec::new() }
    }

    /// Takes a field, where it is written.
    pub fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        self.take_stray(name)
    }

    /// The keys that were not taken, and where each starts.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, usize)> {
        self.fields.iter().map(|(name, field)| (*name, field.at))
    }

    /// Looks at a field without taking it.
    pub fn peek(&self, name: &str) -> Option<Field<'a>> {
        self.fields.iter().find(|(own, _)| *own == name).map(|(_, field)| field.clone())
    }

    /// Takes a field that is known elsewhere and has no place here.
    pub fn take_stray(&mut self, name: &str) -> Option<Field<'a>> {
        let found = self.fields.iter().position(|(own, _)| *own == name)?;
        Some(self.fields.swap_remove(found).1)
    }

    /// Takes all fields, in the order of the file.
    pub fn take_all(&mut self) -> Vec<(&'a str, Field<'a>)> {
        let mut fields = std::mem::take(&mut self.fields);
        fields.sort_by_key(|(_, field)| field.at);
        fields
    }
}

/// A key as a message shows it: bare where TOML lets it be bare.
fn quoted_key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "this number",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known name that differs in the fewest letters, if that is at most a third of them.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let close = |known: &&&str| distance(name, known) * 3 <= known.len().max(3);
    known.iter().filter(close).min_by_key(|known| distance(name, known)).copied()
}

/// How many letters must be added, dropped or changed.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // Beyond 64 characters no name is near.
    for (i, a) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_recognised_and_a_far_one_is_not() {
        let known = ["to", "methods", "paths", "credential"];
        assert_eq!(nearest("method", &known), Some("methods"));
        assert_eq!(nearest("credentials", &known), Some("credential"));
        assert_eq!(nearest("path", &known), Some("paths"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
