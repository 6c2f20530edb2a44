//! One row of the table: a call from start to end, or a refusal.
//!
//! Enters: records. Leaves: a line as wide as it has to be, and whether a filter wants it. Never: a control character from the
//! log on the terminal.

use std::fmt;

use jiff::Timestamp;
use record::{CallEnd, CallStart, Refused, TunnelStart};

/// The line above the rows.
pub(super) const HEADING: &str = "TIME                 AGENT        RESULT    STATUS MS       SENT/RECEIVED CALL";

/// What is listed.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) agent: Option<String>,
    pub(super) host: Option<String>,
    pub(super) refused: bool,
    pub(super) since: Option<Timestamp>,
}

impl Filter {
    pub(super) fn wants(&self, row: &Row) -> bool {
        let host = |host: &str| row.to.rsplit_once(':').is_some_and(|(name, _)| name.trim_matches(['[', ']']) == host);
        self.agent.as_ref().is_none_or(|agent| *agent == row.agent)
            && self.host.as_deref().is_none_or(host)
            && (!self.refused || row.was_refused)
            && self.since.is_none_or(|since| row.time >= since)
    }
}

/// A call, or what was refused instead of one.
#[derive(Debug)]
pub struct Row {
    pub(super) time: Timestamp,
    /// Its records in the log.
    pub lines: Vec<String>,
    agent: String,
    to: String,
    was_refused: bool,
    result: String,
    status: Option<u16>,
    milliseconds: Option<f64>,
    bytes: Option<(u64, u64)>,
    call: String,
    notes: Vec<String>,
}

impl Row {
    pub(super) fn started(agent: &str, time: Timestamp, start: &CallStart, text: &str) -> Self {
        let query = start.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let credential = start.credential.as_ref().map(|used| match &used.places[..] {
            [] => format!("credential {}", used.name),
            places if used.injected => format!("credential {} put into {}", used.name, places.join(", ")),
            places => format!("credential {} in {}", used.name, places.join(", ")),
        });
        let call = format!("{} {}{}{query}", start.method, site(&start.scheme, &start.to), start.path);
        let notes = tool(start.tool.as_ref()).chain(credential).collect();
        Self { notes, ..Self::open(agent, time, &start.to, call, text) }
    }

    pub(super) fn tunnelled(agent: &str, time: Timestamp, start: &TunnelStart, text: &str) -> Self {
        let notes = vec!["unread".to_owned()];
        Self { notes, ..Self::open(agent, time, &start.to, format!("{} {}", start.tls, start.to), text) }
    }

    fn open(agent: &str, time: Timestamp, to: &str, call: String, text: &str) -> Self {
        Self {
            time,
            lines: vec![text.to_owned()],
            agent: agent.to_owned(),
            to: to.to_owned(),
            was_refused: false,
            result: "open".to_owned(),
            status: None,
            milliseconds: None,
            bytes: None,
            call,
            notes: Vec::new(),
        }
    }

    pub(super) fn ended(mut self, end: &CallEnd, text: &str) -> Self {
        self.lines.push(text.to_owned());
        self.result.clone_from(&end.outcome);
        self.was_refused = end.outcome == "refused";
        self.status = end.status;
        self.milliseconds = Some(end.total_ms);
        self.bytes = Some((end.sent, end.received));
        if end.scrubbed > 0 {
            self.notes.push(format!("scrubbed {}×", end.scrubbed));
        }
        if end.retried.is_some() {
            self.notes.push("sent once more after a 401".to_owned());
        }
        self.notes.extend(end.reason.clone());
        self
    }

    pub(super) fn refused(agent: &str, time: Timestamp, refused: &Refused, text: &str) -> Self {
        let call = match (&refused.method, &refused.path) {
            (Some(method), Some(path)) => format!("{method} {}{path}", site("https", &refused.to)),
            _ => refused.to.clone(),
        };
        Self {
            time,
            lines: vec![text.to_owned()],
            agent: agent.to_owned(),
            to: refused.to.clone(),
            was_refused: true,
            result: if refused.alert { "ALERT" } else { "refused" }.to_owned(),
            status: refused.status,
            milliseconds: None,
            bytes: None,
            call,
            notes: tool(refused.tool.as_ref())
                .chain([format!("{}: {}", refused.kind, refused.reason)])
                .chain(refused.hint.as_deref().and_then(config::command_in).map(|command| format!("hint: {command}")))
                .collect(),
        }
    }
}

/// What of an MCP or GraphQL call its path does not say.
fn tool(name: Option<&String>) -> impl Iterator<Item = String> {
    name.map(|name| format!("tool {name}")).into_iter()
}

/// A destination as people write it: without what goes without saying.
fn site(scheme: &str, to: &str) -> String {
    match scheme {
        "https" => to.strip_suffix(":443").unwrap_or(to).to_owned(),
        scheme => format!("{scheme}://{to}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let row = format!(
            "{:<20} {:<12} {:<9} {:<6} {:<8} {:<13} {}{}",
            self.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            self.agent,
            self.result,
            or_dash(self.status.map(|status| status.to_string())),
            or_dash(self.milliseconds.map(|ms| format!("{ms:.1}"))),
            or_dash(self.bytes.map(|(sent, received)| format!("{sent}/{received}"))),
            self.call,
            self.notes.iter().map(|note| format!("  [{note}]")).collect::<String>(),
        );
        f.write_str(&row.replace(|c: char| c.is_control(), "?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Row {
        let refused = Refused {
            connection: 1,
            to: "[2001:db8::1]:443".to_owned(),
            method: Some("GET".to_owned()),
            path: Some("/a\u{1b}[2J".to_owned()),
            tool: None,
            kind: "host-not-listed".to_owned(),
            status: Some(403),
            reason: "no".to_owned(),
            scheme: None,
            rule: None,
            policy: None,
            hint: None,
            trace: None,
            alert: false,
        };
        Row::refused("bot", Timestamp::UNIX_EPOCH, &refused, "{}")
    }

    #[test]
    fn a_terminal_escape_in_a_path_does_not_reach_the_terminal() {
        assert!(!refused().to_string().contains('\u{1b}'));
    }

    #[test]
    fn filters_compare_whole_hosts() {
        let wants = |host: &str| Filter { host: Some(host.to_owned()), ..Filter::default() }.wants(&refused());
        assert!(wants("2001:db8::1"));
        assert!(!wants("2001:db8::"));
    }
}
