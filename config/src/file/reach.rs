//! Whether each rule of a file can come to pass beside the others.
//!
//! Enters: all rules of the file, in its order, with their places. Leaves: a mistake for each that cannot. Never: a comparison of all rules
//! with all others: what covers a rule is for the same host, or for more hosts with it, and has its first path.

use std::collections::HashMap;
use std::sync::Arc;

use super::reader::Reader;
use crate::by_host::ByHost;
use crate::glob::PathGlob;
use crate::rule::{Effect, Rule, TlsMode};

type Placed = (usize, Arc<Rule>);

/// The rules of one pattern, by what they have; as numbers, which ascend.
#[derive(Default)]
struct Alike<'a> {
    /// How each of the ways to treat connections comes first.
    modes: Vec<(TlsMode, u32)>,
    /// Those for every path.
    every_path: Vec<u32>,
    by_path: HashMap<&'a PathGlob, Vec<u32>>,
    /// Whether the patterns are for folded paths.
    folds: bool,
}

/// Rules by what they could cover.
struct Covering<'a> {
    rules: &'a [Placed],
    by_host: ByHost<Alike<'a>>,
}

impl<'a> Covering<'a> {
    fn of(rules: &'a [Placed], effect: Effect) -> Self {
        let mut by_host: ByHost<Alike<'a>> = ByHost::default();
        for (number, (_, rule)) in (0..).zip(rules).filter(|(_, (_, rule))| rule.effect() == effect) {
            let alike = by_host.at(&rule.to);
            alike.folds = effect == Effect::Deny;
            if alike.modes.iter().all(|(mode, _)| *mode != rule.tls) {
                alike.modes.push((rule.tls, number));
            }
            match &rule.paths {
                Some(paths) if !paths.have_every_path() => {
                    paths.asked().iter().for_each(|glob| alike.by_path.entry(glob).or_default().push(number));
                }
                _ => alike.every_path.push(number),
            }
        }
        Self { rules, by_host }
    }

    /// The first rule before that number which covers the rule.
    fn before(&self, number: u32, rule: &Rule) -> Option<&'a Rule> {
        let first = |numbers: &Vec<u32>| {
            numbers.iter().copied().take_while(|other| *other < number).find(|other| self.at(*other).covers(rule))
        };
        let of_these = |alike: &Alike<'_>| {
            // Of rules that treat connections otherwise, no more than the hosts is compared.
            let otherwise = alike.modes.iter().map(|(_, other)| *other);
            let otherwise = otherwise.filter(|other| *other < number && self.at(*other).covers(rule));
            let glob = rule.paths().and_then(<[PathGlob]>::first);
            let same = match alike.folds && !alike.by_path.is_empty() {
                true => glob.and_then(|glob| alike.by_path.get(&glob.folded())),
                false => glob.and_then(|glob| alike.by_path.get(glob)),
            };
            [Some(&alike.every_path), same].into_iter().flatten().filter_map(first).chain(otherwise).min()
        };
        self.by_host.covering(&rule.to).filter_map(of_these).min().map(|found| self.at(found))
    }

    fn at(&self, number: u32) -> &'a Rule {
        &self.rules[number as usize].1
    }
}

/// An allow rule is never reached where a deny rule, or an allow rule before it, speaks of all that it speaks of.
pub(super) fn check_that_each_can_come_to_pass(reader: &mut Reader<'_>, rules: &[Placed]) {
    let (denying, allowing) = (Covering::of(rules, Effect::Deny), Covering::of(rules, Effect::Allow));
    for (number, (at, rule)) in (0..).zip(rules).filter(|(_, (_, rule))| rule.effect() == Effect::Allow) {
        let key = || format!("allow[{}]", rule.id.number);
        if let Some(other) = denying.before(u32::MAX, rule) {
            let reason = format!("it can never allow anything: {} has all of it, and a deny rule wins", other.id);
            let remedy = "take one of the two out, or narrow the deny rule with `methods` or `paths`";
            reader.mistake(key(), *at, reason, remedy);
        } else if let Some(other) = allowing.before(number, rule) {
            let reason = format!("it is never reached: {} comes first and has all of it", other.id);
            let remedy = match (other.protocol(), rule.protocol()) {
                (None, None) => "put the narrower rule first, or take one of the two out",
                // The rule is chosen by the head of a request alone.
                _ => "list in one rule what either allows, or tell the two apart by `paths` or `methods`",
            };
            reader.mistake(key(), *at, reason, remedy);
        }
    }
}

/// A deny rule for some requests of a destination cannot be applied where its connections pass unread.
pub(super) fn check_that_each_can_be_applied(reader: &mut Reader<'_>, rules: &[Placed]) {
    let unread: Vec<&Rule> =
        rules.iter().map(|(_, rule)| &**rule).filter(|rule| rule.tls != TlsMode::Intercept).collect();
    for (at, rule) in rules.iter().filter(|(_, rule)| rule.effect() == Effect::Deny && !rule.is_whole()) {
        if let Some(other) = unread.iter().find(|other| other.to.meets(&rule.to)) {
            let reason = format!("it cannot be applied: connections that {} allows pass unread", other.id);
            let remedy = "deny the whole destination, or take `tls` out of the other rule";
            reader.mistake(format!("deny[{}]", rule.id.number), *at, reason, remedy);
        }
    }
}
