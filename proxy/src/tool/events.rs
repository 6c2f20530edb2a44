//! An event stream (HTML, section 9.2), event by event.
//!
//! Enters: chunks, however they fall. Leaves: whole events, their data cut down by the listing, lines ended by a line feed.
//! Never: more kept than one event; an event that is larger than the bound; a line that is no field of an event, or that some
//! clients would read as two.

use super::Listing;
use crate::{limit, turn};

/// What ends a line for some clients, though not for the standard. In JSON they can only stand in strings.
const SEPARATORS: [(char, &str); 3] = [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];

/// What has come of one event.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    fields: Vec<Vec<u8>>,
    data: Vec<Vec<u8>>,
    kept: usize,
    after_return: bool,
    begun: bool,
}

impl Events {
    /// Takes a chunk; adds the events that it completes to `passed`.
    ///
    /// # Errors
    /// In words: an event that is too large, or that cannot be read.
    pub async fn push(&mut self, chunk: &[u8], listing: &Listing, passed: &mut Vec<u8>) -> Result<(), String> {
        for &byte in chunk {
            let second = std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
            match byte {
                _ if second => {}
                b'\r' | b'\n' => self.end_of_line(listing, passed).await?,
                byte => {
                    self.kept += 1;
                    if self.kept > limit::LISTING {
                        return Err(format!("an event of its stream is longer than {} bytes", limit::LISTING));
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    async fn end_of_line(&mut self, listing: &Listing, passed: &mut Vec<u8>) -> Result<(), String> {
        turn::slice().await;
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            return self.end_of_event(listing, passed).await;
        }
        let between = self.fields.is_empty() && self.data.is_empty();
        match field(&line) {
            (b"", _) if between => {
                // A comment keeps the connection alive, and must not wait for an event. What it says is for nobody.
                passed.extend_from_slice(b":\n");
                self.kept = 0;
            }
            (b"data", value) => self.data.push(value.to_vec()),
            (b"event" | b"id" | b"retry", value) => {
                let plain =
                    |text: &str| !text.contains(|c: char| c.is_control() || SEPARATORS.iter().any(|s| s.0 == c));
                if !std::str::from_utf8(value).is_ok_and(plain) {
                    return Err("a field of an event can be read in several ways".to_owned());
                }
                self.fields.push(line);
            }
            _ => {}
        }
        // Room for the line itself, so that short lines without end are bounded as well.
        self.kept += size_of::<Vec<u8>>();
        Ok(())
    }

    async fn end_of_event(&mut self, listing: &Listing, passed: &mut Vec<u8>) -> Result<(), String> {
        let (fields, data) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.data));
        self.kept = 0;
        let mut text = data.join(&b'\n');
        if !text.is_empty() {
            // Data that is empty only carries an id.
            text = listing.cut(&text).await?.unwrap_or(text);
        }
        let mut text = String::from_utf8(text).map_err(|_| "an event that is not UTF-8".to_owned())?;
        for (separator, escaped) in
            SEPARATORS.into_iter().filter(|(separator, _)| text.contains(*separator)).collect::<Vec<_>>()
        {
            text = text.replace(separator, escaped);
        }
        for line in &fields {
            passed.extend_from_slice(line);
            passed.push(b'\n');
        }
        if !data.is_empty() {
            write_data(&text, passed);
        }
        passed.push(b'\n');
        Ok(())
    }
}

/// Adds the lines that carry `text`.
pub(super) fn write_data(text: &str, passed: &mut Vec<u8>) {
    for line in text.split('\n') {
        passed.extend_from_slice(b"data: ");
        passed.extend_from_slice(line.as_bytes());
        passed.push(b'\n');
    }
}

/// Name and value of a line; a comment has an empty name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else { return (line, b"") };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use config::{Policy, Protocol};
    use proptest::prelude::*;

    use super::*;
    use crate::turn::at_once;

    fn listing() -> Listing {
        let text = "[[allow]]\nto = \"mcp.example.com\"\nmcp = { tools = [\"search\"] }\n";
        let policy = Policy::parse("bot".parse().unwrap(), "bot.toml", text).unwrap();
        let Some(Protocol::Mcp(rule)) = policy.rules()[0].protocol() else { panic!("no mcp") };
        Listing::of_stream(policy.rules()[0].id(), rule)
    }

    fn passed(stream: &str) -> Result<String, String> {
        let mut passed = Vec::new();
        at_once(Events::default().push(stream.as_bytes(), &listing(), &mut passed))?;
        Ok(String::from_utf8(passed).unwrap())
    }

    /// Whether it is no JSON to an ordinary reader, or names what is not listed.
    fn unlisted(data: &str) -> bool {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(data) else { return true };
        let messages = message.as_array().cloned().unwrap_or_else(|| vec![message]);
        messages.iter().any(|message| message["result"]["tools"].to_string().contains("delete"))
    }

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"delete"}]}}"#;

    #[test]
    fn a_list_is_cut_however_its_lines_end() {
        let half = LIST.find("\"result").unwrap();
        for stream in [
            format!("data: {LIST}\n\n"),
            format!("data:{LIST}\r\r"),
            format!("\u{feff}data: {LIST}\r\n\r\n"),
            format!("data: {}\ndata: {}\n\n", &LIST[..half], &LIST[half..]),
            format!("data: {}\r: between\rdata: {}\r\n\r", &LIST[..half], &LIST[half..]),
        ] {
            let passed = passed(&stream).unwrap();
            assert!(passed.contains("search") && !passed.contains("delete"), "{stream}: {passed}");
        }
    }

    #[test]
    fn what_is_no_list_keeps_its_event_id_and_data() {
        assert_eq!(passed(": ping at noon\n\n").unwrap(), ":\n\n");
        assert_eq!(passed("id: 7\nretry: 100\ndata:\n\n").unwrap(), "id: 7\nretry: 100\ndata: \n\n");
        let told = "event: message\nid: a\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/x\"}\n\n";
        assert_eq!(passed(told).unwrap(), told);
        assert_eq!(passed("data: {\"a\":\"\u{2028}data: x\"}\n\n").unwrap(), "data: {\"a\":\"\\u2028data: x\"}\n\n");
    }

    #[test]
    fn what_is_no_field_of_an_event_or_no_whole_event_does_not_pass() {
        assert_eq!(passed(&format!("x{LIST}\n{LIST}\n: {LIST}\nDATA: {LIST}\ndata : {LIST}\n\n")).unwrap(), ":\n\n");
        assert_eq!(passed(&format!("data: {LIST}\n")).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_read_ends_the_stream() {
        for stream in [
            "data: {\n\n".to_owned(),
            "data: hello\n\n".to_owned(),
            "data: {\"id\":1,\"id\":2}\n\n".to_owned(),
            format!("id: 1\u{2028}data: {LIST}\n\n"),
            format!("event: a\u{b}data: {LIST}\n\n"),
            format!("data: \u{feff}{LIST}\n\n"),
            "data: ".to_owned() + &"x".repeat(limit::LISTING),
            "id\n".repeat(limit::LISTING / 20),
        ] {
            assert!(passed(&stream).is_err(), "{}", &stream[..stream.len().min(100)]);
        }
    }

    proptest! {
        /// What passes does not depend on how the chunks fall, and names nothing that is not listed.
        #[test]
        fn chunks_do_not_matter(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "\n", "\r", "\r\n", "data:", "data: ", ":", " ", "id: 1", "event: x", LIST, "[", "]", ",", "1", "\u{feff}",
                r#"{"result":{"tools":[{"name":"delete","#, r#""x":1}]}}"#, r#"{"tools":"#, "\u{2028}", "x",
            ]), 0..24),
            cuts in prop::collection::vec(0usize..2000, 0..6),
        ) {
            let stream = pieces.concat();
            let whole = passed(&stream);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let (mut events, listing, mut out) = (Events::default(), listing(), Vec::new());
            let ended = cuts.windows(2).try_for_each(|cut| {
                at_once(events.push(&stream.as_bytes()[cut[0]..cut[1]], &listing, &mut out))
            });
            prop_assert_eq!(ended.map(|()| String::from_utf8(out).unwrap()), whole.clone());
            if let Ok(whole) = whole {
                for event in whole.split("\n\n") {
                    let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                    let data = data.join("\n");
                    prop_assert!(data.is_empty() || !unlisted(&data), "{:?} gave {:?}", stream, whole);
                }
            }
        }
    }
}
