//! JSON, a piece after the other.
//!
//! Enters: a text. Leaves: where its objects and arrays begin and end, their keys, and that there is a scalar, as serde_json reads these. Never:
//! more kept than what a piece stands in; a turn that lasts for as long as the text is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::message::Unreadable;
use crate::error::printable;
use crate::turn;

/// So deep serde_json goes, and most others.
const DEEPEST: usize = 127;
/// After so many bytes somebody else may have the turn. Where all of them are keys, they take 70 µs.
const STRETCH: usize = 2048;

/// What has parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
}

/// A step of the way through a text.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Begin(Kind),
    End(Kind),
    Key(Cow<'a, str>),
    Scalar,
}

/// What may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// The first part, or the end.
    First,
    /// Another part, or the end.
    More,
}

/// The way through a text.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// Where the value began that came last.
    value: usize,
    next: Next,
    open: Vec<Kind>,
    /// Where its turn began, at the latest.
    turn: usize,
}

impl<'a> Walk<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, value: 0, next: Next::Value, open: Vec::new(), turn: 0 }
    }

    /// In how many objects and arrays it is.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Where the scalar is that came last, or where the object or array begins.
    pub fn value(&self) -> usize {
        self.value
    }

    /// The text from there up to where it is.
    pub fn since(&self, begin: usize) -> &'a str {
        &self.text[begin..self.at]
    }

    /// The next piece, when there is time for it; none behind the end of the value.
    ///
    /// # Errors
    /// [`Unreadable`] for what is no JSON, or a key that is written so that it is not found.
    pub async fn next(&mut self) -> Result<Option<Piece<'a>>, Unreadable> {
        if self.at - self.turn >= STRETCH {
            self.turn = self.at;
            turn::slice().await;
        }
        self.step()
    }

    fn step(&mut self) -> Result<Option<Piece<'a>>, Unreadable> {
        self.blank();
        match (self.next, self.open.last().copied()) {
            (Next::Value, _) => self.begin().map(Some),
            (_, None) if self.at == self.text.len() => Ok(None),
            (_, None) => Err(self.broken("there is more behind it")),
            (next, Some(kind)) => {
                if self.takes(if kind == Kind::Object { b'}' } else { b']' }) {
                    self.open.pop();
                    self.next = Next::More;
                    return Ok(Some(Piece::End(kind)));
                }
                if next == Next::More && !self.takes(b',') {
                    return Err(self.broken("a comma is missing, or an end"));
                }
                self.blank();
                if kind == Kind::Object { self.key().map(Some) } else { self.begin().map(Some) }
            }
        }
    }

    fn key(&mut self) -> Result<Piece<'a>, Unreadable> {
        let Key(key) = self.token()?;
        self.blank();
        if !self.takes(b':') {
            return Err(self.broken("a colon is missing"));
        }
        self.next = Next::Value;
        Ok(Piece::Key(key))
    }

    /// A scalar whole, or what has parts as far as they.
    fn begin(&mut self) -> Result<Piece<'a>, Unreadable> {
        self.value = self.at;
        let kind = match self.text.as_bytes().get(self.at) {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => {
                let Scalar = self.token()?;
                self.next = Next::More;
                return Ok(Piece::Scalar);
            }
        };
        if self.open.len() == DEEPEST {
            return Err(self.broken("it is too deep"));
        }
        self.at += 1;
        self.open.push(kind);
        self.next = Next::First;
        Ok(Piece::Begin(kind))
    }

    fn blank(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is);
        is
    }

    /// What serde_json finds here.
    fn token<T: Deserialize<'a>>(&mut self) -> Result<T, Unreadable> {
        let mut tokens = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter();
        match tokens.next() {
            Some(Ok(token)) => {
                self.at += tokens.byte_offset();
                Ok(token)
            }
            Some(Err(error)) => {
                // It counts from the token on.
                let (what, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
                Err(self.broken(what.strip_suffix(&place).unwrap_or(&what)))
            }
            None => Err(self.broken("it breaks off")),
        }
    }

    fn broken(&self, what: &str) -> Unreadable {
        Unreadable(format!("{what}, at byte {}", self.at))
    }
}

struct Scalar;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl Visitor<'_> for Scalar {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
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

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self, E> {
        if value.is_finite() { Ok(self) } else { Err(E::custom("a number that is none")) }
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

/// serde_json lends it only where there is no escape in it.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_str(ReadKey)
    }
}

struct ReadKey;

impl<'de> Visitor<'de> for ReadKey {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(key.into()))
    }

    /// Writers escape quotes, slashes and what is not ASCII. A word of letters is escaped only to hide it.
    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
        if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(E::custom(format!("the key `{}` is written with an escape", printable(key.as_bytes()))));
        }
        Ok(Key(key.to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use config::{Policy, Protocol};
    use tokio::task::yield_now;

    use super::super::message::read;
    use super::super::{Events, Json, Listing};
    use crate::limit;
    use crate::turn::Turns;

    /// How many turns somebody else had beside `work`.
    async fn turns_beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> (T, usize) {
        let turns = Turns::new(|| {});
        let had = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&had);
        let (other, share) = (turns.share(), turns.share());
        other.spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let done = share.run(async move {
            let before = had.load(Ordering::Relaxed);
            let done = work.await;
            (done, had.load(Ordering::Relaxed) - before)
        });
        done.await
    }

    /// An object of so many bytes that is all keys.
    fn keys(length: usize) -> String {
        let mut keys = String::from("{\"result\":{");
        for number in 0.. {
            if keys.len() + 16 > length {
                break;
            }
            keys.push_str(&format!("\"{number:x}\":0,"));
        }
        keys + "\"z\":0}}"
    }

    /// In a tenth of a second there are some hundred turns, and without a break none.
    const MANY: usize = 16;

    #[tokio::test]
    async fn beside_the_longest_bodies_others_have_their_turns() {
        for text in [keys(limit::JUDGED_BODY), format!("[{}0]", "{},".repeat(limit::JUDGED_BODY / 3 - 1))] {
            let body = text.clone();
            let (is_json, turns) = turns_beside(async move { read(body.as_bytes()).await.is_ok() }).await;
            assert!(is_json && turns >= MANY, "{turns}");
            let (parts, turns) = turns_beside(async move {
                let json = Json::new(&text);
                match json.members(&["result"]).await.and_then(|members| members.get("result")) {
                    Some(result) => usize::from(result.members(&["z"]).await.unwrap().has("z")),
                    None => {
                        let (mut elements, mut count) = (json.elements().await.unwrap(), 0);
                        while elements.next().await.is_some() {
                            count += 1;
                        }
                        count
                    }
                }
            })
            .await;
            assert!(parts > 0 && turns >= MANY, "{turns}");
        }
    }

    #[tokio::test]
    async fn beside_the_longest_event_others_have_their_turns() {
        let text = "[[allow]]\nto = \"mcp.example.com\"\nmcp = { tools = [\"search\"] }\n";
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap();
        let Some(Protocol::Mcp(rule)) = policy.rules()[0].protocol() else { panic!("no mcp") };
        let listing = Listing::of_stream(policy.rules()[0].id(), rule);
        let event = format!("data: {}\n\n", keys(limit::LISTING - 64));
        let (read, turns) = turns_beside(async move {
            let mut passed = Vec::new();
            Events::default().push(event.as_bytes(), &listing, &mut passed).await.map(|()| passed.len())
        })
        .await;
        assert!(read.unwrap() > limit::LISTING / 2 && turns >= MANY, "{turns}");
    }
}
