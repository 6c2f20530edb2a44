//! Policies and calls that come close to each other: rules of hosts that have one another, and calls to those hosts whose paths are made from
//! the rules' own patterns and then spelt otherwise.
//!
//! Enters: chance. Leaves: rules as they stand in a file, and calls for a policy. Never: a policy in which one rule hides all others; that
//! is what chance alone makes of many rules.

use std::collections::BTreeSet;
use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::decision::Scheme;
use crate::destination::Destination;
use crate::glob::PathGlob;
use crate::path::NormalPath;
use crate::policy::Policy;

/// Patterns of which most have others, and hosts that they have.
type Family = (&'static [&'static str], &'static [&'static str]);

const FAMILIES: [Family; 5] = [
    (&["a.example"], &["a.example"]),
    (
        &["a.example", "b.a.example", "*.a.example", "*.b.a.example", "*.example", "c.b.a.example"],
        &["a.example", "b.a.example", "c.b.a.example", "d.c.b.a.example"],
    ),
    (&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3"], &["10.1.2.3", "10.1.200.3", "10.2.0.1"]),
    (&["[2001:db8::/32]", "[2001:db8::/48]", "[2001:db8::1]"], &["[2001:db8::1]", "[2001:db8:1::1]"]),
    (
        &["a.example", "*.a.example", "x.test", "10.1.0.0/16", "10.1.2.3", "192.0.2.0/24", "[2001:db8::1]"],
        &["a.example", "b.a.example", "example", "x.test", "10.1.2.3", "192.0.2.9", "[2001:db8::1]"],
    ),
];
const WORDS: [&str; 13] =
    ["x", "y", "xx", "xy", "pay", "v1", "@me", "q", "r", "x;p=1", "x%2Fy", "100%25ab", "a%20long%20name"];
const PORTS: [u16; 3] = [443, 80, 8443];

/// What the rules of one file have in common.
#[derive(Clone, Copy, Debug)]
struct Temper {
    denies: f64,
    /// How often connections pass unread. One such rule rules out every deny rule for some paths of its hosts.
    unread: f64,
    /// How often a rule is for every path. One deny rule for everything rules out every allow rule.
    pathless: f64,
    /// How many segments stand before each pattern and path.
    depth: usize,
}

/// The rules of a file, any of which may be a mistake, alone or beside others; and the hosts to call.
pub(super) fn some_rules(most: usize) -> impl Strategy<Value = (Vec<String>, &'static [&'static str], usize)> {
    let temper = (
        select(&[0.05, 0.3, 0.8][..]),
        prop_oneof![2 => Just(1e-6), 1 => Just(0.3)],
        select(&[0.02, 0.3][..]),
        prop_oneof![8 => Just(0), 1 => 29..33_usize],
    );
    let temper = temper.prop_map(|(denies, unread, pathless, depth)| Temper { denies, unread, pathless, depth });
    (select(&FAMILIES[..]), temper, prop_oneof![Just(1..8), Just(8..most)]).prop_flat_map(
        |((patterns, hosts), temper, count)| {
            (prop::collection::vec(some_rule(patterns, temper), count), Just(hosts), Just(temper.depth))
        },
    )
}

fn some_rule(patterns: &'static [&'static str], temper: Temper) -> impl Strategy<Value = String> {
    let glob = some_glob().prop_map(move |glob| format!("{}{glob}", before(temper.depth)));
    let count = prop_oneof![20 => 1..4_usize, 2 => 13..20_usize, 1 => 60..80_usize];
    let paths = count.prop_flat_map(move |count| prop::collection::vec(glob.clone(), count));
    let paths =
        paths.prop_map(|paths| paths.into_iter().collect::<BTreeSet<String>>().into_iter().collect::<Vec<String>>());
    let paths = prop::option::weighted(1.0 - temper.pathless, paths);
    let methods = prop_oneof![
        3 => Just(vec![]),
        2 => prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 1..3)
    ];
    let port = prop::option::weighted(0.3, select(&PORTS[..]));
    let mode = prop::option::weighted(temper.unread, select(&["passthrough", "tcp"][..]));
    let way =
        select(&["", "", "", "dial = \"127.0.0.1:9\"\n", "addresses = [\"10.0.0.0/8\", \"192.168.0.0/16\"]\n"][..]);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.4));
    (prop::bool::weighted(temper.denies), select(patterns), port, methods, paths, (mode, way, flags)).prop_map(
        |(deny, to, port, methods, paths, (mode, way, (plain, slash)))| {
            let unread = mode.filter(|_| !deny);
            let port = port.or((unread == Some("tcp")).then_some(443));
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let mut text = format!("[[{}]]\nto = \"{to}{port}\"\n", if deny { "deny" } else { "allow" });
            if let Some(mode) = unread {
                return text + &format!("tls = \"{mode}\"\n");
            }
            if !methods.is_empty() {
                let _ = writeln!(text, "methods = {methods:?}");
            }
            if let Some(paths) = &paths {
                let _ = writeln!(text, "paths = {paths:?}");
            }
            if !deny {
                let slash = slash || paths.iter().flatten().any(|glob| glob.contains("%2F"));
                let way = if to.contains('/') && way.starts_with("dial") { "" } else { way };
                let _ = writeln!(text, "{way}plain = {plain}\nencoded_slash = {slash}");
            }
            text
        },
    )
}

/// Mostly of words, so that one pattern does not have every path.
fn some_glob() -> impl Strategy<Value = String> + Clone {
    let segment = prop_oneof![
        12 => select(&WORDS[..]),
        4 => select(&["*", "**", "x*", "*y", "*a*", "x;*"][..])
    ];
    prop_oneof![
        40 => prop::collection::vec(segment, 1..5).prop_map(|segments| format!("/{}", segments.join("/"))),
        1 => select(&["/", "/x/"][..]).prop_map(str::to_owned),
    ]
}

fn before(depth: usize) -> String {
    "/d".repeat(depth)
}

/// A call as it is made up: what it is made from is chosen once there is a policy.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    host: Index,
    port: u16,
    pub(super) scheme: Scheme,
    pub(super) method: &'static str,
    pattern: Option<Index>,
    /// What stands for asterisks, or is the path.
    words: Vec<&'static str>,
    end: End,
    spelling: Vec<(&'static str, Letter, &'static str)>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    Shorter,
    Longer,
}

/// How a segment's first letter is written.
#[derive(Clone, Copy, Debug)]
enum Letter {
    Plain,
    Escaped,
    EscapedTwice,
}

pub(super) fn some_call() -> impl Strategy<Value = Sketch> {
    let between = prop_oneof![12 => Just("/"), 3 => Just("%2F"), 1 => Just("/./"), 1 => Just("/q/../")];
    let letter = prop_oneof![6 => Just(Letter::Plain), 1 => Just(Letter::Escaped), 1 => Just(Letter::EscapedTwice)];
    let parameters =
        prop_oneof![12 => Just(""), 1 => Just(";p=1"), 1 => Just("%3b"), 1 => Just("%253Bp"), 1 => Just("%25%33%42")];
    let spelling = prop_oneof![Just(vec![]), prop::collection::vec((between, letter, parameters), 5),];
    let end = prop_oneof![6 => Just(End::Whole), 1 => Just(End::Shorter), 1 => Just(End::Longer)];
    (
        (any::<Index>(), prop_oneof![2 => Just(443), 1 => select(&PORTS[..])]),
        select(&[Scheme::Https, Scheme::Https, Scheme::Http][..]),
        select(&["GET", "GET", "POST", "PUT"][..]),
        (prop::option::weighted(0.9, any::<Index>()), prop::collection::vec(select(&WORDS[..]), 0..4)),
        (end, spelling),
    )
        .prop_map(|((host, port), scheme, method, (pattern, words), (end, spelling))| Sketch {
            host,
            port,
            scheme,
            method,
            pattern,
            words,
            end,
            spelling,
        })
}

impl Sketch {
    /// Where it goes.
    pub(super) fn destination(&self, hosts: &[&str]) -> Destination {
        Destination::parse_authority(hosts[self.host.index(hosts.len())], self.port).unwrap()
    }

    /// Its path: one that a pattern of the policy has, or nearly; `None` where it came out as one that is always refused.
    pub(super) fn path(&self, policy: &Policy, depth: usize) -> Option<NormalPath> {
        let patterns: Vec<&PathGlob> = policy.rules().iter().filter_map(|rule| rule.paths()).flatten().collect();
        let pattern = self.pattern.filter(|_| !patterns.is_empty()).map(|index| patterns[index.index(patterns.len())]);
        let mut segments = match pattern {
            Some(pattern) => self.of_pattern(pattern),
            None => before(depth).split('/').skip(1).chain(self.words.iter().copied()).map(str::to_owned).collect(),
        };
        match self.end {
            End::Whole => {}
            End::Shorter => drop(segments.pop()),
            End::Longer => segments.extend(self.words.first().map(|word| (*word).to_owned())),
        }
        // What is before is left as it is.
        let plain = segments.len().saturating_sub(self.spelling.len());
        let mut path = segments[..plain].iter().fold(String::new(), |path, segment| path + "/" + segment);
        for (segment, (between, letter, parameters)) in segments[plain..].iter().zip(&self.spelling) {
            path += if path.is_empty() { "/" } else { between };
            match (segment.as_bytes().first().filter(|first| first.is_ascii_alphanumeric()), letter) {
                (Some(first), Letter::Escaped) => write!(path, "%{first:02x}{}", &segment[1..]).unwrap(),
                (Some(first), Letter::EscapedTwice) => write!(path, "%25{first:02X}{}", &segment[1..]).unwrap(),
                _ => path += segment,
            }
            path += parameters;
        }
        NormalPath::parse(if path.is_empty() { "/" } else { &path }).ok()
    }

    fn of_pattern(&self, pattern: &PathGlob) -> Vec<String> {
        let mut segments = Vec::new();
        for segment in pattern.as_str().split('/').skip(1) {
            match segment {
                "**" => segments.extend(self.words.iter().map(|word| (*word).to_owned())),
                segment => segments.push(segment.replace('*', self.words.first().unwrap_or(&"x"))),
            }
        }
        segments
    }
}
