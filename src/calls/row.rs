//! One row of the table: a call from start to end, or a refusal.
//!
//! Enters: records. Leaves: a line as wide as it has to be, or cells. Never: a control character from the log on the terminal.

use std::fmt;

use jiff::Timestamp;
use record::cut::{self, Cuts};
use record::read::Record;
use record::{CallEnd, CallStart, Event, Refused, TunnelStart};

use crate::plain::plain;

/// The line above the rows.
pub(super) const HEADING: &str =
    "ID             TIME                 AGENT        RESULT    STATUS MS       SENT/RECEIVED CALL";

/// How a row began.
#[derive(Debug)]
enum Start {
    Call(Box<CallStart>),
    Tunnel(Box<TunnelStart>),
    Refused(Box<Refused>),
}

/// A call, or what was refused instead of one.
#[derive(Debug)]
pub struct Row {
    /// Worker and number of the first record.
    id: String,
    pub(super) time: Timestamp,
    /// Its records in the log.
    pub lines: Vec<String>,
    agent: String,
    start: Start,
    end: Option<CallEnd>,
    /// Which of its texts are not whole, and what they were.
    cut: Cuts,
}

impl Row {
    /// Of its first record; `None` where that does not begin a row.
    pub(super) fn of(id: String, agent: &str, record: &Record) -> Option<Row> {
        let start = match &record.line.event {
            Event::CallStart(start) => Start::Call(Box::new(start.clone())),
            Event::TunnelStart(start) => Start::Tunnel(Box::new(start.clone())),
            Event::Refused(refused) => Start::Refused(Box::new(refused.clone())),
            _ => return None,
        };
        let (time, lines, agent) = (record.line.time, vec![record.text.clone()], agent.to_owned());
        Some(Row { id, time, lines, agent, start, end: None, cut: record.line.cut.clone() })
    }

    /// With its last record; `None` where that is not its end.
    pub(super) fn ended_by(mut self, record: &Record) -> Option<Row> {
        let number = match &self.start {
            Start::Call(start) => start.call,
            Start::Tunnel(start) => start.call,
            Start::Refused(_) => return None,
        };
        match &record.line.event {
            Event::CallEnd(end) if end.call == number => {
                self.lines.push(record.text.clone());
                self.end = Some(end.clone());
                self.cut.extend(record.line.cut.clone());
                Some(self)
            }
            _ => None,
        }
    }

    /// What became of it, in a word.
    pub(super) fn result(&self) -> &str {
        match (&self.start, &self.end) {
            (Start::Refused(refused), _) if refused.alert => "ALERT",
            (Start::Refused(_), _) => "refused",
            (_, Some(end)) => &end.outcome,
            (_, None) => "open",
        }
    }

    fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Refused(refused) => refused.status,
            _ => self.end.as_ref().and_then(|end| end.status),
        }
    }

    /// What was called, in a line.
    pub(super) fn call(&self) -> String {
        match &self.start {
            Start::Call(start) => {
                let query = start.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{} {}{}{query}", start.method, site(&start.scheme, &start.to), start.path)
            }
            Start::Tunnel(start) => format!("{} {}", start.tls, start.to),
            Start::Refused(refused) => match (&refused.method, &refused.path) {
                (Some(method), Some(path)) => {
                    format!("{method} {}{path}", site(refused.scheme.as_deref().unwrap_or("https"), &refused.to))
                }
                _ => refused.to.clone(),
            },
        }
    }

    /// What is worth knowing beside.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.start {
            Start::Call(start) => {
                notes.extend(tool(start.tool.as_ref()));
                notes.extend(start.credential.as_ref().map(|used| match &used.places[..] {
                    [] => format!("credential {}", used.name),
                    places if used.injected => format!("credential {} put into {}", used.name, places.join(", ")),
                    places => format!("credential {} in {}", used.name, places.join(", ")),
                }));
                let observed = start.observed.as_ref();
                notes.extend(observed.map(|one| format!("would be refused: {}: {}", one.kind, one.reason)));
            }
            Start::Tunnel(_) => notes.push("unread".to_owned()),
            Start::Refused(refused) => {
                notes.extend(tool(refused.tool.as_ref()));
                notes.push(format!("{}: {}", refused.kind, refused.reason));
                let command =
                    refused.hint.as_deref().filter(|_| !self.cut.contains_key("hint")).and_then(config::command_in);
                notes.extend(command.map(|command| format!("hint: {command}")));
            }
        }
        if let Some(end) = &self.end {
            if end.scrubbed > 0 {
                notes.push(format!("scrubbed {}×", end.scrubbed));
            }
            if end.retried.is_some() {
                notes.push("sent once more after a 401".to_owned());
            }
            notes.extend(end.reason.clone());
        }
        notes.extend(cut::told(&self.cut).map(|cut| format!("CUT: {cut}")));
        notes
    }

    /// As cells, under [`Row::columns`].
    pub(super) fn cells(&self) -> Vec<String> {
        let (end, text) = (self.end.as_ref(), |text: Option<&str>| text.unwrap_or_default().to_owned());
        let (call, refused) = match &self.start {
            Start::Call(start) => (Some(start), None),
            Start::Tunnel(_) => (None, None),
            Start::Refused(refused) => (None, Some(refused)),
        };
        let (to, rule) = match &self.start {
            Start::Call(start) => (&start.to, Some(&*start.rule)),
            Start::Tunnel(start) => (&start.to, Some(&*start.rule)),
            Start::Refused(refused) => (&refused.to, refused.rule.as_deref()),
        };
        let used = call.and_then(|call| call.credential.as_ref());
        let observed = call.and_then(|call| call.observed.as_ref());
        let method = call.map(|call| &*call.method).or(refused.and_then(|refused| refused.method.as_deref()));
        let path = call.map(|call| &*call.path).or(refused.and_then(|refused| refused.path.as_deref()));
        let tool = call.and_then(|call| call.tool.as_deref()).or(refused.and_then(|refused| refused.tool.as_deref()));
        let kind = refused.map(|refused| &*refused.kind).or(observed.map(|observed| &*observed.kind));
        let reason = refused.map(|refused| &*refused.reason).or(observed.map(|observed| &*observed.reason));
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let milliseconds = |time: Option<f64>| time.map(|ms| ms.to_string()).unwrap_or_default();
        vec![
            self.id.clone(),
            self.time.to_string(),
            self.agent.clone(),
            self.result().to_owned(),
            number(self.status().map(u64::from)),
            text(method),
            to.clone(),
            text(path),
            text(call.and_then(|call| call.query.as_deref())),
            text(tool),
            text(rule),
            text(used.map(|used| &*used.name)),
            text(used.map(|used| &*used.lease)),
            milliseconds(end.map(|end| end.total_ms)),
            milliseconds(end.and_then(|end| end.head_ms)),
            number(end.map(|end| end.sent)),
            number(end.map(|end| end.received)),
            number(end.map(|end| end.scrubbed)),
            text(end.and_then(|end| end.address.as_deref())),
            text(kind),
            text(reason.or(end.and_then(|end| end.reason.as_deref()))),
            cut::told(&self.cut).unwrap_or_default(),
        ]
    }

    /// What the cells are.
    pub(super) fn columns() -> [&'static str; 22] {
        [
            "id",
            "time",
            "agent",
            "result",
            "status",
            "method",
            "to",
            "path",
            "query",
            "tool",
            "rule",
            "credential",
            "lease",
            "total_ms",
            "head_ms",
            "sent",
            "received",
            "scrubbed",
            "address",
            "refusal",
            "reason",
            "cut",
        ]
    }
}

/// What of an MCP or GraphQL call its path does not say.
fn tool(name: Option<&String>) -> impl Iterator<Item = String> {
    name.map(|name| format!("tool {name}")).into_iter()
}

/// A destination as people write it: without what goes without saying.
pub(super) fn site(scheme: &str, to: &str) -> String {
    match scheme {
        "https" => to.strip_suffix(":443").unwrap_or(to).to_owned(),
        scheme => format!("{scheme}://{to}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let row = format!(
            "{:<14} {:<20} {:<12} {:<9} {:<6} {:<8} {:<13} {}{}",
            self.id,
            self.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            self.agent,
            self.result(),
            or_dash(self.status().map(|status| status.to_string())),
            or_dash(self.end.as_ref().map(|end| format!("{:.1}", end.total_ms))),
            or_dash(self.end.as_ref().map(|end| format!("{}/{}", end.sent, end.received))),
            self.call(),
            self.notes().iter().map(|note| format!("  [{note}]")).collect::<String>(),
        );
        f.write_str(&plain(&row))
    }
}

#[cfg(test)]
mod tests {
    use record::read::Position;

    use super::*;

    /// A row of a record that says this.
    pub(super) fn row(event: &str) -> Row {
        let text = format!(r#"{{"seq":1,"time":"1970-01-01T00:00:00Z","prev":"{}",{event}}}"#, "0".repeat(64));
        let line = serde_json::from_str(&text).unwrap();
        Row::of("abcdef/1".to_owned(), "bot", &Record { line, text, at: Position::START }).unwrap()
    }

    #[test]
    fn a_terminal_escape_in_a_path_does_not_reach_the_terminal() {
        let refused = row(
            r#""event":"refused","connection":1,"to":"[2001:db8::1]:443","method":"GET","path":"/a\u001b[2J\u009b","kind":"k","reason":"\u202e""#,
        );
        assert!(
            refused.to_string().ends_with("refused   -      -        -             GET [2001:db8::1]/a?[2J?  [k: ?]")
        );
        assert_eq!(refused.cells().len(), Row::columns().len());
    }
}
