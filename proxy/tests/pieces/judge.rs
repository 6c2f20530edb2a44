//! Spellings of a credential, and a judge that knows of the proxy only what it promises. The fuzz targets have it, too.

use base64::Engine as _;
use base64::alphabet::STANDARD as STANDARD_ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{
    GeneralPurpose, GeneralPurposeConfig, STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD,
};

/// A piece of an answer: the credential in some spelling, or something else.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "not everybody makes one of each")]
pub enum Piece {
    Other(Vec<u8>),
    /// The beginning of the credential, of this length.
    Begun(usize),
    Raw,
    Percent {
        lower: bool,
        all: bool,
    },
    Form,
    Json {
        slash: bool,
    },
    JsonAll {
        lower: bool,
    },
    /// Escaped in one way, but for what that encoder leaves alone: a bit for each character that may be escaped.
    Partly {
        way: usize,
        left: u128,
    },
    /// In digits, in UTF-16, or in one case.
    Rendered(usize),
    /// In base64 with text before and after; `form` chooses alphabet and padding, `slash` escapes as PHP does.
    Base64 {
        before: Vec<u8>,
        after: Vec<u8>,
        form: usize,
        slash: bool,
    },
}

fn percent(secret: &str, lower: bool, all: bool) -> String {
    let escape = |b: u8| if lower { format!("%{b:02x}") } else { format!("%{b:02X}") };
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    secret.bytes().map(|b| if unreserved(b) && !all { char::from(b).to_string() } else { escape(b) }).collect()
}

fn json(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn json_all(secret: &str, lower: bool) -> String {
    let escape = |b: u8| if lower { format!("\\u{b:04x}") } else { format!("\\u{b:04X}") };
    secret.bytes().map(escape).collect()
}

/// How encoders in the field escape a character that is neither letter nor digit.
pub const ESCAPES: [fn(char) -> String; 10] = [
    |c| format!("%{:02X}", u32::from(c)),
    |c| format!("%{:02x}", u32::from(c)),
    |c| format!("%25{:02X}", u32::from(c)),
    |c| format!("\\u{:04X}", u32::from(c)),
    |c| format!("\\u{:04x}", u32::from(c)),
    |c| format!("\\x{:02x}", u32::from(c)),
    |c| format!("&#{};", u32::from(c)),
    |c| format!("&#{:03};", u32::from(c)),
    |c| format!("&#x{:X};", u32::from(c)),
    |c| format!("={:02X}", u32::from(c)),
];

fn is_escaped(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !"-._".contains(c)
}

fn partly(secret: &str, way: usize, left: u128) -> String {
    let escaped = |c| is_escaped(c) && left >> u32::from(c) & 1 == 0;
    secret.chars().map(|c| if escaped(c) { ESCAPES[way](c) } else { c.to_string() }).collect()
}

/// `text` with the escapes of this way undone that could be of the credential; those that begin escapes come last.
fn undone(text: &str, secret: &str, way: usize) -> String {
    let mut escaped: Vec<char> = secret.chars().filter(|&c| is_escaped(c)).collect();
    escaped.sort_unstable_by_key(|c| "%\\&=".contains(*c));
    escaped.into_iter().fold(text.to_owned(), |text, c| text.replace(&ESCAPES[way](c), &c.to_string()))
}

/// What servers make of a text that they show.
pub const RENDERINGS: [fn(&str) -> Vec<u8>; 6] = [
    |text| text.bytes().map(|b| format!("{b:02x}")).collect::<String>().into(),
    |text| text.bytes().map(|b| format!("{b:02X}")).collect::<String>().into(),
    |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    |text| text.to_lowercase().into(),
    |text| text.to_uppercase().into(),
];

/// All pieces with `secret` for the credential.
pub fn spelt(pieces: &[Piece], secret: &str) -> Vec<u8> {
    pieces.iter().flat_map(|piece| spell(piece, secret)).collect()
}

fn spell(piece: &Piece, secret: &str) -> Vec<u8> {
    match piece {
        Piece::Other(bytes) => bytes.clone(),
        Piece::Begun(length) => secret.as_bytes()[..(*length).min(secret.len() - 1)].to_vec(),
        Piece::Raw => secret.into(),
        Piece::Percent { lower, all } => percent(secret, *lower, *all).into(),
        Piece::Form => percent(secret, false, false).replace("%20", "+").into(),
        Piece::Json { slash: false } => json(secret).into(),
        Piece::Json { slash: true } => json(secret).replace('/', "\\/").into(),
        Piece::JsonAll { lower } => json_all(secret, *lower).into(),
        Piece::Partly { way, left } => partly(secret, *way, *left).into(),
        Piece::Rendered(way) => RENDERINGS[*way](secret),
        Piece::Base64 { before, after, form, slash } => {
            let engine = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD][*form];
            let encoded = engine.encode([before, secret.as_bytes(), after].concat());
            if *slash { encoded.replace('/', "\\/").into() } else { encoded.into() }
        }
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// The same, or as servers show a text.
#[allow(dead_code, reason = "not every test binary looks at answers")]
pub fn shows_rendered(text: &[u8], secret: &str) -> bool {
    shows(text, secret) || (secret.len() >= 16 && RENDERINGS.iter().any(|way| contains(text, &way(secret))))
}

/// Whether the credential is there in any spelling, found in another way than the scrub finds it.
pub fn shows(text: &[u8], secret: &str) -> bool {
    let unslashed = String::from_utf8_lossy(text).replace("\\/", "/");
    let spellings = [
        secret.to_owned(),
        percent(secret, false, false),
        percent(secret, true, false),
        percent(secret, false, true),
        percent(secret, true, true),
        json(secret),
        json(secret).replace('/', "\\/"),
        json_all(secret, false),
        json_all(secret, true),
    ];
    let as_text = String::from_utf8_lossy(text);
    spellings.iter().any(|spelling| contains(text, spelling.as_bytes()))
        || (0..ESCAPES.len()).any(|way| undone(&as_text, secret, way).contains(secret))
        || unslashed
            .replace('-', "+")
            .replace('_', "/")
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/')
            .any(|run| decodings(run).any(|decoded| contains(&decoded, secret.as_bytes())))
}

/// Wherever the base64 began within the run: the four ways to cut it into groups.
fn decodings(run: &str) -> impl Iterator<Item = Vec<u8>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let engine = GeneralPurpose::new(&STANDARD_ALPHABET, lenient);
    (0..4.min(run.len())).filter_map(move |skipped| {
        let rest = &run[skipped..];
        let whole = if rest.len() % 4 == 1 { rest.len() - 1 } else { rest.len() };
        engine.decode(&rest[..whole]).ok()
    })
}
