//! A body that is accepted is read by serde_json as it is read here, and has no second key that is spelt like another; one that is let through asks
//! for nothing that is not allowed, also if keys and methods are read in any case. An event stream is cut alike however its chunks fall, and what
//! passes of it lists nothing that is not allowed.
#![no_main]

mod judging;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use config::{Policy, Protocol};
use libfuzzer_sys::fuzz_target;
use proxy::tool::{Events, Listing, read};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use judging::Judging;

/// What goes beside the tools that are listed, in small letters.
const HARMLESS: [&str; 12] = [
    "initialize",
    "server/discover",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "logging/setlevel",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
];

static SEARCH: LazyLock<Judging> = LazyLock::new(|| Judging::by("mcp = { tools = [\"search\"] }"));

static LISTING: LazyLock<Listing> = LazyLock::new(|| {
    let text = "[[allow]]\nto = \"mcp.example.com\"\nmcp = { tools = [\"search\"] }\n";
    let policy = Policy::parse("fuzz".parse().expect("a name"), "fuzz.toml", text).expect("a policy");
    let rule = &policy.rules()[0];
    let Some(Protocol::Mcp(mcp)) = rule.protocol() else { panic!("no mcp") };
    Listing::of_stream(rule.id(), mcp)
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = at_once(read(bytes)) {
        let other: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(serde_json::from_str::<Value>(value.text()).expect("JSON"), other);
        // A reader that keeps every key it meets.
        serde_json::from_slice::<Alone>(bytes).expect("no key is spelt like another");
    }
    if SEARCH.judge("POST", None, bytes).is_ok() {
        let body: Value = serde_json::from_slice(bytes).expect("JSON");
        for message in body.as_array().unwrap_or(&vec![body.clone()]) {
            assert!(asks_for_search_at_most(message), "{message}");
        }
    }
    let mut whole = Vec::new();
    let ended = at_once(Events::default().push(bytes, &LISTING, &mut whole));
    let (mut events, mut pieces) = (Events::default(), Vec::new());
    let piecemeal = bytes.chunks(3).try_for_each(|chunk| at_once(events.push(chunk, &LISTING, &mut pieces)));
    assert_eq!((&ended, &whole), (&piecemeal, &pieces));
    let text = String::from_utf8(whole).expect("what passes is text");
    for event in text.split("\n\n") {
        let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let data = data.join("\n");
        if !data.is_empty() {
            let message: Value = serde_json::from_str(&data).expect("what passes is JSON");
            let messages = message.as_array().cloned().unwrap_or_else(|| vec![message]);
            for tool in messages.iter().filter_map(|message| message.pointer("/result/tools")) {
                let tools = tool.as_array().expect("a list");
                assert!(tools.iter().all(|tool| tool["name"] == "search"), "{data}");
            }
        }
    }
});

/// What comes of what waits for nothing but its turn, where there are no turns.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let Poll::Ready(value) = pin!(work).poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    value
}

/// To a server that minds no case, and takes what looks like a method for one.
fn asks_for_search_at_most(message: &Value) -> bool {
    let all = |value: &Value, key: &str| -> Vec<Value> {
        let alike = |name: &str| name.trim().to_lowercase() == key;
        let members = value.as_object().into_iter().flatten();
        members.filter(|(name, _)| alike(name)).map(|(_, value)| value.clone()).collect()
    };
    all(message, "method").iter().all(|method| {
        let method = method.as_str().unwrap_or("what is no text").trim().to_lowercase();
        let named = || all(message, "params").iter().flat_map(|params| all(params, "name")).collect::<Vec<_>>();
        match &*method {
            "tools/call" => named() == ["search"],
            method => HARMLESS.contains(&method),
        }
    })
}

/// JSON none of whose objects has two keys that are alike, case aside.
struct Alone;

impl<'de> Deserialize<'de> for Alone {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Alone)
    }
}

impl<'de> Visitor<'de> for Alone {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Alone>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, _)) = members.next_entry::<String, Alone>()? {
            assert!(seen.insert(key.to_ascii_lowercase()), "{key}");
        }
        Ok(self)
    }
}
