//! Well-formed requests, each with something odd about it.
//!
//! Enters: a seed, and for the first cases the entry of a table that they are about. Leaves: cases as lines of JSON for the client in the
//! sandbox. Never: a case that cannot be told from the others: each has a word of its own in its path and in a field.

use serde_json::{Value, json};

use super::frames;
use super::tables::{
    AUTHORITIES, FIELDS, FIELDS_2, FRAMINGS, HOSTS, LENGTHS, METHODS, PROPER_FRAMINGS, PSEUDO, RESTS, SCHEMES, TARGETS,
    TRAILERS, VERSIONS,
};

/// The name of a host that no case may reach by way of another.
pub const OTHER: &str = "other.example.com";
/// The name of a host that speaks without TLS.
pub const PLAIN: &str = "plain.example.com";
/// The value of a field that `Connection` names.
pub const HOP: &str = "named-by-connection";
/// A segment that a deny rule keeps in.
pub const SECRET: &str = "secret";

/// A source of numbers that are the same for the same seed (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    /// One of them.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// One case.
pub struct Case {
    /// In its path and in a field.
    pub word: String,
    /// What the client is told.
    pub line: Value,
    /// The body, where nothing that could change it is odd.
    pub body: Option<String>,
    /// Whether bytes behind the head were changed, so that what follows may be any request.
    pub is_odd_behind: bool,
}

/// What a case is told by: no change of a few bytes makes that of another.
fn word(number: usize) -> String {
    format!("case{number}of{:05}z", number * 48_271 % 99_991)
}

/// Where what is sent is cut, in thousandths: half of the cases are sent at once.
fn cuts(random: &mut Random) -> Vec<usize> {
    (0..random.below(2) * (1 + random.below(4))).map(|_| random.below(1000)).collect()
}

/// Each of the four pseudo-fields that a request has is left out once.
const LEFT_OUT: usize = 4;
/// What may be odd about a request, over either protocol: the tables of entries there are.
const ASPECTS: usize = 9;
/// How many entries each table has over HTTP/1.1. Bytes that are changed, few or many, are in none: chance chooses those.
pub const ENTRIES_1: [usize; ASPECTS] =
    [METHODS.len(), TARGETS.len(), VERSIONS.len(), HOSTS.len(), FIELDS.len(), FRAMINGS.len(), RESTS.len(), 0, 0];
/// And over HTTP/2.
pub const ENTRIES_2: [usize; ASPECTS] = [
    METHODS.len(),
    TARGETS.len(),
    LEFT_OUT + PSEUDO.len(),
    AUTHORITIES.len() + SCHEMES.len(),
    FIELDS_2.len(),
    LENGTHS.len(),
    TRAILERS.len(),
    frames::KINDS,
    0,
];

/// Which aspects of a case are odd, and by which entries.
enum Odd {
    /// By this one alone.
    By(usize, usize),
    /// Mostly one thing is, so that the request gets as far as that thing lets it; sometimes two, once in a while none.
    ByChance([usize; 2]),
}

impl Odd {
    /// The `number`th case of its direction is about the `number`th entry of all tables; behind the last, chance chooses.
    fn new(random: &mut Random, entries: &[usize; ASPECTS], mut number: usize) -> Self {
        for (aspect, of_it) in entries.iter().enumerate() {
            match number.checked_sub(*of_it) {
                Some(rest) => number = rest,
                None => return Self::By(aspect, number),
            }
        }
        Self::ByChance([random.below(ASPECTS + 3), random.below(ASPECTS * 3)])
    }

    fn is_walked(&self) -> bool {
        matches!(self, Self::By(..))
    }

    fn is(&self, aspect: usize) -> bool {
        match self {
            Self::By(own, _) => *own == aspect,
            Self::ByChance(odd) => odd.contains(&aspect),
        }
    }

    /// The entry of a table with `entries`, where the aspect is odd.
    fn entry(&self, random: &mut Random, aspect: usize, entries: usize) -> Option<usize> {
        match self {
            Self::By(own, entry) => (*own == aspect).then_some(*entry),
            Self::ByChance(_) => self.is(aspect).then(|| random.below(entries)),
        }
    }
}

/// A request over HTTP/1.1, and after it a proper one that asks to close.
pub fn http1(random: &mut Random, number: usize, nth: usize, host: &str) -> Case {
    let word = word(number);
    let odd = Odd::new(random, &ENTRIES_1, nth);
    let mut entry = |aspect: usize| odd.entry(random, aspect, ENTRIES_1[aspect]);
    let entries: [Option<usize>; ASPECTS - 2] = std::array::from_fn(&mut entry);
    let method = entries[0].map_or_else(|| random.one(&["GET", "POST", "PUT"]), |entry| METHODS[entry]);
    let target = entries[1].map_or_else(|| random.one(&["/{w}/a", "/{w}/a?b=c&d=e"]), |entry| TARGETS[entry]);
    let version = entries[2].map_or("HTTP/1.1", |entry| VERSIONS[entry]);
    let hosts = entries[3].map_or("Host: {h}\r\n", |entry| HOSTS[entry]);
    let mut fields = entries[4].map_or("", |entry| FIELDS[entry]).to_owned();
    if entries[4].is_some() && !odd.is_walked() && random.below(2) == 0 {
        fields += random.one(&FIELDS);
    }
    let (framing, sent) = entries[5].map_or_else(|| random.one(&PROPER_FRAMINGS), |entry| FRAMINGS[entry]);
    let rest = entries[6].map_or("", |entry| RESTS[entry]);
    let head = format!("{method} {target} {version}\r\n{hosts}{fields}{framing}");
    let fill = |text: &str| text.replace("{w}", &word).replace("{h}", host).into_bytes();
    let (mut bytes, mut sent, mut rest) = (fill(&head), fill(sent), fill(rest));
    let mut is_odd_behind = false;
    let changes: [fn(&mut Random, &mut Vec<u8>); 2] = [disturb, confuse];
    for (aspect, change) in (7..).zip(changes) {
        if odd.is(aspect) {
            let mut parts: Vec<_> =
                [&mut bytes, &mut sent, &mut rest].into_iter().filter(|part| !part.is_empty()).collect();
            let which = random.below(parts.len());
            is_odd_behind |= which > 0;
            change(random, parts[which]);
        }
    }
    bytes.extend(fill("X-Case: {w}\r\n\r\n"));
    bytes.extend(sent);
    bytes.extend(rest);
    bytes.extend(fill("GET /{w}/end HTTP/1.1\r\nHost: {h}\r\nConnection: close\r\n\r\n"));
    let body = (![5, 7, 8].into_iter().any(|aspect| odd.is(aspect)) && !framing.is_empty()).then(|| "hello".to_owned());
    let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = json!({ "case": number, "protocol": "h1", "to": host, "bytes": bytes, "cuts": cuts(random) });
    Case { line, word, body, is_odd_behind }
}

/// A request over HTTP/2, and beside it a proper one.
pub fn http2(random: &mut Random, number: usize, nth: usize, host: &str) -> Case {
    let word = word(number);
    let odd = Odd::new(random, &ENTRIES_2, nth);
    let mut entry = |aspect: usize| odd.entry(random, aspect, ENTRIES_2[aspect]);
    let entries: [Option<usize>; ASPECTS - 1] = std::array::from_fn(&mut entry);
    let fill = |text: &str| text.replace("{w}", &word).replace("{h}", host);
    let target = entries[1].map_or("/{w}/a?b=c", |entry| TARGETS[entry]);
    let method = entries[0].map_or_else(|| random.one(&["GET", "POST"]), |entry| METHODS[entry]);
    let scheme = if host == PLAIN { "http" } else { "https" };
    let mut pseudo = vec![(":method", method), (":scheme", scheme), (":authority", "{h}"), (":path", target)];
    if let Some(entry) = entries[3] {
        match entry.checked_sub(AUTHORITIES.len()) {
            None => pseudo[2].1 = AUTHORITIES[entry],
            Some(entry) => pseudo[1].1 = SCHEMES[entry],
        }
    }
    if let Some(entry) = entries[2] {
        match entry.checked_sub(LEFT_OUT) {
            None => drop(pseudo.remove(entry)),
            Some(entry) => pseudo.push(PSEUDO[entry]),
        }
    }
    let mut fields: Vec<(&str, &str)> = vec![("x-case", "{w}")];
    fields.extend(entries[4].map_or(&[][..], |entry| FIELDS_2[entry]));
    if entries[4].is_some() && !odd.is_walked() && random.below(2) == 0 {
        fields.extend(random.one(&FIELDS_2));
    }
    let body = random.one(&["", "hello"]);
    if let Some(entry) = entries[5] {
        fields.push(("content-length", LENGTHS[entry]));
    } else if random.below(2) == 0 {
        fields.push(("content-length", if body.is_empty() { "0" } else { "5" }));
    }
    if !odd.is_walked() && random.below(12) == 0 {
        fields.append(&mut pseudo); // behind the regular ones
    }
    let fields: Vec<_> = pseudo.iter().chain(&fields).map(|(name, value)| json!([fill(name), fill(value)])).collect();
    let trailers = entries[6].map_or(&[][..], |entry| TRAILERS[entry]);
    let mut steps = vec![json!({ "stream": 1, "fields": fields, "end": body.is_empty() && trailers.is_empty() })];
    if !body.is_empty() {
        steps.push(json!({ "stream": 1, "data": body, "end": trailers.is_empty() }));
    }
    if !trailers.is_empty() {
        let trailers: Vec<_> = trailers.iter().map(|(name, value)| json!([name, fill(value)])).collect();
        steps.push(json!({ "stream": 1, "fields": trailers, "end": true }));
    }
    if let Some(kind) = entries[7] {
        frames::disturb(random, kind, &mut steps);
    }
    if odd.is(8) {
        frames::confuse(random, &mut steps);
    }
    let end = [(":method", "GET"), (":scheme", scheme), (":authority", "{h}"), (":path", "/{w}/end")];
    let end: Vec<_> = end.iter().map(|(name, value)| json!([name, fill(value)])).collect();
    steps.push(json!({ "stream": 5, "fields": end, "end": true }));
    let line = json!({ "case": number, "protocol": "h2", "to": host, "steps": steps, "streams": [1, 5], "cuts": cuts(random) });
    let body = (![5, 7, 8].into_iter().any(|aspect| odd.is(aspect))).then(|| body.to_owned());
    Case { line, word, body, is_odd_behind: false }
}

/// Changes a byte or two.
fn disturb(random: &mut Random, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"\0\t\n\x0b\x0c\r !\"#%(),/:;?@[\\]{|}\x7f\x80\xe9\xffaZ0";
    for _ in 0..=random.below(2) {
        if bytes.is_empty() {
            break;
        }
        let (at, byte) = (random.below(bytes.len()), random.one(BYTES));
        match random.below(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
}

/// Changes a lot: so much that little of what was meant is left, or that two requests lie in one.
fn confuse(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(4) {
        0 => (0..8 + random.below(56)).for_each(|_| disturb(random, bytes)),
        1 => {
            let length = 1 + random.below(400);
            *bytes = random.bytes(length);
        }
        2 => {
            let (at, length) = (random.below(bytes.len()), 1 + random.below(200));
            let other = random.bytes(length);
            bytes.splice(at..at, other);
        }
        // A piece of it once more, somewhere in it.
        _ => {
            let (from, at) = (random.below(bytes.len()), random.below(bytes.len()));
            let to = from + random.below(bytes.len() - from) + 1;
            let piece = bytes[from..to].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
