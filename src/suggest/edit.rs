//! An agent's file with rules added.
//!
//! Enters: the file, and rules. Leaves: the same file, every byte of what was there in its place, the rules behind the last allow rule or as
//! paths or methods of one that says the same otherwise. Never: a file that does not load, a half-written one, one that somebody else
//! changed meanwhile, or a rule with a credential that lets out more than before.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::{AgentId, Effect, IpNet, Method, Pattern, Policy, Rule, Suggested, TlsMode};
use rustix::fs::{Gid, Uid, fchown};
use tempfile::Builder;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

use super::told;
use crate::report::Report;

/// A file, and what is new in it.
#[derive(Debug)]
pub struct Edited {
    pub text: String,
    /// Rules of their own.
    added: usize,
    /// Lists of rules that were there.
    longer: BTreeSet<String>,
}

impl fmt::Display for Edited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longer: Vec<String> = self.longer.iter().map(|list| format!("to {list}")).collect();
        let rules = match self.added {
            0 => None,
            1 => Some("1 rule".to_owned()),
            many => Some(format!("{many} rules")),
        };
        let all: Vec<String> = rules.into_iter().chain(longer).collect();
        f.write_str(&all.join(", and "))
    }
}

/// A file as it was read, once: rules are told apart by where they stand, so that what is edited is the very text that was judged by.
#[derive(Debug)]
pub struct Original {
    file: PathBuf,
    text: String,
    policy: Policy,
}

impl Original {
    /// Reads the agent's file.
    ///
    /// # Errors
    /// When it cannot be read, or does not load.
    pub fn read(agent: AgentId, file: PathBuf) -> Result<Self, Report> {
        let text = Policy::text_of(&file)?;
        let policy = Policy::parse_without_secrets(agent, &file, &text)?;
        Ok(Self { file, text, policy })
    }

    /// What it says.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The file with `rules`.
    ///
    /// # Errors
    /// When it could not be loaded with them.
    pub fn with_rules(&self, rules: &[Suggested]) -> Result<Edited, Report> {
        let Self { file, text, policy } = self;
        let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| Report::new(error))?;
        let by_hand = || {
            Report::new(format!("`{}` has its rules in a form that is not added to", file.display()))
                .hint("write rules as [[allow]], or add the lines that `exeat suggest` prints by hand")
        };
        let allow = document.entry("allow").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let allow = allow.as_array_of_tables_mut().ok_or_else(by_hand)?;
        let (mut added, mut longer) = (0, BTreeSet::new());
        for rule in rules {
            let into = policy.rules().iter().filter(|one| one.effect() == Effect::Allow).enumerate();
            let extended = into
                .filter_map(|(at, one)| Some((at, one.id(), same_but_for(one, rule)?)))
                .find_map(|(at, id, key)| extend(allow.get_mut(at)?, key, rule).map(|()| format!("{key} of {id}")));
            match extended {
                Some(what) => drop(longer.insert(what)),
                None => {
                    allow.push(table(rule).ok_or_else(by_hand)?);
                    added += 1;
                }
            }
        }
        let edited = Edited { text: document.to_string(), added, longer };
        Policy::parse_without_secrets(policy.agent().clone(), file, &edited.text).map_err(|error| {
            Report::new(error).hint(format!("`{}` was not changed: it would not load with these rules", file.display()))
        })?;
        Ok(edited)
    }

    /// Puts `edited` in the place of the file, if that still is what was read.
    ///
    /// # Errors
    /// When it is not, or cannot be replaced.
    pub fn replace(&self, edited: &str) -> Result<(), Report> {
        // Where it is a link, what it leads to is edited, as an editor would.
        let file = fs::canonicalize(&self.file)?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        let metadata = fs::metadata(&file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut fresh = Builder::new().prefix(&format!(".{name}.")).suffix(".new").tempfile_in(directory)?;
        fresh.write_all(edited.as_bytes())?;
        fresh.as_file().set_permissions(metadata.permissions())?;
        let own = fresh.as_file().metadata()?;
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(fresh.as_file(), Some(Uid::from_raw(metadata.uid())), Some(Gid::from_raw(metadata.gid())))?;
        }
        fresh.as_file().sync_all()?;
        if Policy::text_of(&file)? != self.text {
            return Err(Report::new(format!("`{}` was changed while the logs were read", file.display()))
                .hint("nothing was written: try again"));
        }
        fresh.persist(&file)?;
        File::open(directory)?.sync_all()?;
        Ok(())
    }
}

/// What of a rule has to be longer for it to be this one as well: everything else is the same, and it is for itself alone.
fn same_but_for(one: &Rule, rule: &Suggested) -> Option<&'static str> {
    let alone = one.credential().is_none()
        && one.rate().is_none()
        && one.protocol().is_none()
        && one.client_certificate().is_none()
        && one.tls() == TlsMode::Intercept;
    let plain = rule.plain.unwrap_or(rule.to.port() == Some(80));
    let listed = |range: &&IpNet| {
        Some(**range) != one.to().network() && Some(**range) != one.dial().map(|dial| IpNet::from(dial.ip()))
    };
    let ranges: BTreeSet<&IpNet> = one.addresses().iter().filter(listed).collect();
    let same_way = one.dial() == rule.way.dial && ranges == rule.way.addresses.iter().collect();
    let same: (&Pattern, bool, bool) = (&rule.to, plain, rule.encoded_slash);
    if !alone || !same_way || (one.to(), one.plain(), one.encoded_slash()) != same {
        return None;
    }
    let methods = one.methods()?.iter().collect::<BTreeSet<&Method>>() == rule.methods.iter().collect();
    let texts = |paths: &[config::PathGlob]| paths.iter().map(|path| path.as_str().to_owned()).collect::<BTreeSet<_>>();
    let paths = texts(one.paths()?) == texts(&rule.paths);
    match (methods, paths) {
        (true, _) => Some("paths"),
        (false, true) => Some("methods"),
        (false, false) => None,
    }
}

/// Adds to a list of a rule, with a comment above it. `None` where it is no list.
fn extend(table: &mut Table, key: &str, rule: &Suggested) -> Option<()> {
    let fresh: Vec<String> = match key {
        "methods" => rule.methods.iter().map(ToString::to_string).collect(),
        _ => rule.paths.iter().map(ToString::to_string).collect(),
    };
    let list = table.get_mut(key)?.as_array_mut()?;
    let there: BTreeSet<&str> = list.iter().filter_map(Value::as_str).collect();
    let fresh: Vec<String> = fresh.into_iter().filter(|text| !there.contains(text.as_str())).collect();
    fresh.iter().for_each(|text| push(list, text));
    let added = fresh.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ");
    let mut key = table.key_mut(key)?;
    let before = key.leaf_decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
    let comments = told::comments(rule).join("; ");
    key.leaf_decor_mut().set_prefix(format!("{before}# {comments}: {added}\n"));
    Some(())
}

/// As the one before it stands: in a line of its own where that is, behind a comment that is beside that.
fn push(list: &mut Array, text: &str) {
    let prefix = |value: &Value| value.decor().prefix().and_then(|prefix| prefix.as_str()).map(str::to_owned);
    // A comment above the last one is not for this one.
    let indent = list.iter().last().and_then(prefix).and_then(|prefix| Some(prefix.rsplit_once('\n')?.1.to_owned()));
    let mut value = Value::from(text);
    if let Some(indent) = indent {
        let behind = behind_last(list);
        let (beside, below) = behind.split_once('\n').map_or(("", ""), |(beside, below)| (beside, below));
        value.decor_mut().set_prefix(format!("{beside}\n{indent}"));
        let end = format!("\n{below}");
        if list.trailing_comma() {
            list.set_trailing(end);
        } else {
            value.decor_mut().set_suffix(end);
        }
    } else if !list.is_empty() {
        value.decor_mut().set_prefix(" ");
    }
    list.push_formatted(value);
}

/// What stands between the last value of a list and its bracket, taken from there.
fn behind_last(list: &mut Array) -> String {
    if list.trailing_comma() {
        return list.trailing().as_str().unwrap_or_default().to_owned();
    }
    let last = list.len().saturating_sub(1);
    let Some(last) = list.get_mut(last) else { return String::new() };
    let behind = last.decor().suffix().and_then(|suffix| suffix.as_str()).unwrap_or_default().to_owned();
    last.decor_mut().set_suffix("");
    behind
}

/// A rule as it stands in a file, with its comments above it.
fn table(rule: &Suggested) -> Option<Table> {
    let document: DocumentMut = rule.to_string().parse().ok()?;
    let mut table = document.get("allow")?.as_array_of_tables()?.get(0)?.clone();
    let comments: String = told::comments(rule).iter().map(|comment| format!("# {comment}\n")).collect();
    table.decor_mut().set_prefix(format!("\n{comments}"));
    table.set_position(None);
    Some(table)
}

#[cfg(test)]
mod tests {
    use config::{CallFacts, NormalPath, Scheme, Sighting, Times};

    use super::*;

    #[test]
    fn a_file_that_is_another_by_now_is_left_as_it_is_whatever_rule_stands_where_another_did() {
        const OWN: &str = "[[allow]]\nto = \"api.example.com\"\nmethods = [\"GET\"]\npaths = [\"/a\"]\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bot.toml");
        fs::write(&file, OWN).unwrap();
        let original = Original::read("bot".parse().unwrap(), file.clone()).unwrap();
        // Where the rule stood that is to be longer stands one with a credential.
        let fresh = format!("{}credential = \"api\"\n\n{OWN}", OWN.replace("/a", "/secret"));
        fs::write(&file, &fresh).unwrap();
        let seen = Sighting {
            destination: "api.example.com:443".parse().unwrap(),
            scheme: Scheme::Https,
            method: "GET".parse().unwrap(),
            path: NormalPath::parse("/b").unwrap(),
            forbidden: None,
            times: Times::once(jiff::Timestamp::UNIX_EPOCH),
        };
        let edited =
            original.with_rules(&config::suggest(original.policy(), std::slice::from_ref(&seen)).rules).unwrap();
        let Sighting { destination, scheme, method, path, .. } = &seen;
        let policy = Policy::parse_without_secrets("bot".parse().unwrap(), &file, &edited.text).unwrap();
        assert!(policy.call(&CallFacts { destination, scheme: *scheme, method, path }).is_ok(), "{}", edited.text);
        let refused = original.replace(&edited.text).unwrap_err().to_string();
        assert!(refused.contains("was changed while the logs were read"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), fresh);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
        fs::write(&file, OWN).unwrap();
        original.replace(&edited.text).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), edited.text);
    }

    fn pushed(list: &str) -> String {
        let mut document: DocumentMut = format!("a = {list}").parse().unwrap();
        push(document["a"].as_array_mut().unwrap(), "new");
        let text = document.to_string();
        assert!(
            text.parse::<DocumentMut>().unwrap()["a"].as_array().unwrap().iter().any(|it| it.as_str() == Some("new"))
        );
        text.strip_prefix("a = ").unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_list_goes_on_as_it_is_written_and_its_comments_stay_where_they_are() {
        for (before, after) in [
            ("[]", "[\"new\"]"),
            ("[\"x\"]", "[\"x\", \"new\"]"),
            ("[ \"x\" ]", "[ \"x\" , \"new\"]"),
            ("[\n  \"x\",\n]", "[\n  \"x\",\n  \"new\",\n]"),
            ("[\n  \"x\"\n]", "[\n  \"x\",\n  \"new\"\n]"),
            (
                "[\n  # above\n  \"x\", # beside\n  # below\n]",
                "[\n  # above\n  \"x\", # beside\n  \"new\",\n  # below\n]",
            ),
            ("[\n  \"x\" # beside\n]", "[\n  \"x\", # beside\n  \"new\"\n]"),
        ] {
            assert_eq!(pushed(before), after);
        }
    }
}
