//! What is told of suggested rules: lines for an agent's file with a comment each, or one JSON document.
//!
//! Enters: what came of the calls. Leaves: text of which every line is a comment or TOML. Never: a character that a client chose and that
//! is not part of a parsed name, method or path.

use std::fmt::{self, Display, Write};

use config::{Destination, Suggested, Times};
use serde_json::{Value, json};

use super::Learned;
use crate::plain::plain;

/// Hosts that a comment names of those that a rule is for.
const NAMED: usize = 3;

/// How often and when: `seen 12 times, 2026-01-31T12:00:00Z to 2026-02-01T12:00:00Z`.
pub fn seen(Times { calls, first, last, .. }: Times) -> String {
    let at = |time: jiff::Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match (calls, at(first), at(last)) {
        (1, first, _) => format!("seen once, {first}"),
        (calls, first, last) if first == last => format!("seen {calls} times, {first}"),
        (calls, first, last) => format!("seen {calls} times, {first} to {last}"),
    }
}

/// The comments above a rule, without their number signs.
pub fn comments(rule: &Suggested) -> Vec<String> {
    let mut comments = vec![format!("exeat suggest: {}", seen(rule.times))];
    if rule.is_for_a_domain() {
        let named: Vec<String> = rule.seen_at.iter().take(NAMED).map(|to| to.host().to_string()).collect();
        let more = match rule.seen_at.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        comments.push(format!("{}{more} were seen; this lets out to every name below, at any depth", named.join(", ")));
    }
    match (rule.times.observed, rule.times.calls) {
        (observed, calls) if observed >= calls => {}
        (0, _) => comments
            .push("not while observing: a policy of then had a rule for it, which may be gone on purpose".to_owned()),
        (observed, calls) => {
            comments.push(format!("{observed} of {calls} while observing: for the others a policy of then had a rule"));
        }
    }
    if rule.is_for_all_paths() {
        comments.push("what was seen begins in a way that no pattern says: this lets out every path".to_owned());
    } else if rule.is_for_any_path() {
        comments.push(
            "what was seen differs from the first segment on: this lets out every path that looks alike".to_owned(),
        );
    }
    if rule.way.dial.is_some() || !rule.way.addresses.is_empty() {
        comments.push("reached as by the rule that is there for it".to_owned());
    }
    comments
}

/// A rule with its comments, as it stands in a file.
pub fn lines(rule: &Suggested) -> String {
    let comments: String = comments(rule).iter().map(|comment| format!("# {comment}\n")).collect();
    format!("{comments}{rule}")
}

/// As lines for an agent's file.
impl Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, rules, suggestion, .. } = self;
        match (rules.is_empty(), self.observed) {
            (true, true) => {
                writeln!(f, "# nothing to add: no call of `{agent}` was seen that lacks nothing but a rule")?;
            }
            (true, false) => writeln!(
                f,
                "# nothing to add, and no run of `{agent}` that observed: `exeat run --observe --agent {agent} -- COMMAND`"
            )?,
            (false, _) => {}
        }
        let texts: Vec<String> = rules.iter().map(lines).collect();
        f.write_str(&texts.join("\n"))?;
        for (rule, why) in &self.distrusted {
            writeln!(
                f,
                "\n# {} leads to {why}; only if you trust it there, add this by hand ({}):",
                named(rule),
                seen(rule.times)
            )?;
            rule.to_string().lines().try_for_each(|line| writeln!(f, "# {line}"))?;
        }
        let mut notes = String::new();
        for (rule, why) in &self.out_of_reach {
            writeln!(notes, "# not suggested: {} leads to {why}, {}", named(rule), seen(rule.times))?;
        }
        for (denial, times) in &suggestion.denied {
            writeln!(notes, "# not suggested: {}, {}", denial.reason(), seen(*times))?;
        }
        for barred in &suggestion.barred {
            let addresses: Vec<String> = barred.addresses.iter().map(|address| format!("\"{address}\"")).collect();
            let (rule, to, addresses) = (&barred.rule, &barred.destination, addresses.join(", "));
            writeln!(
                notes,
                "# {rule} lets out to {to}, and went nowhere: if you trust it there, add `addresses = [{addresses}]`"
            )?;
        }
        for (to, times) in &self.misdirected {
            writeln!(
                notes,
                "# not suggested: a placeholder was on its way to {to}; `credential` is written by hand, {}",
                seen(*times)
            )?;
        }
        for (to, times) in &self.unspoken {
            writeln!(
                notes,
                "# not suggested: neither TLS nor HTTP was spoken to {to}; if it is meant to pass unread, write `to = \"{to}\"` and `tls = \"tcp\"`, {}",
                seen(*times)
            )?;
        }
        for (to, (why, times)) in &self.unanswered {
            writeln!(notes, "# not suggested: no answer from {to} ({}), {}", shown(why), seen(*times))?;
        }
        if self.left_out > 0 {
            writeln!(
                notes,
                "# {} calls more were seen than are looked at together: narrow it with --since",
                self.left_out
            )?;
        }
        if self.cut > 0 {
            writeln!(
                notes,
                "# not suggested: {} calls of whose method or path the log has only the beginning",
                self.cut
            )?;
        }
        if notes.is_empty() { Ok(()) } else { write!(f, "\n{notes}") }
    }
}

fn named(rule: &Suggested) -> String {
    rule.seen_at.iter().map(Destination::to_string).collect::<Vec<_>>().join(", ")
}

/// The reason of a failure may repeat what a server said.
fn shown(text: &str) -> String {
    plain(text).chars().take(300).collect()
}

/// The same for a program.
pub fn document(learned: &Learned) -> Value {
    let Learned { agent, rules, distrusted, out_of_reach, suggestion, .. } = learned;
    let times = |Times { calls, first, last, .. }: &Times| json!({ "calls": calls, "first": first, "last": last });
    let rule = |rule: &Suggested| {
        let mut value = json!({
            "to": rule.to,
            "methods": rule.methods,
            "paths": rule.paths,
            "plain": rule.plain,
            "encoded_slash": rule.encoded_slash,
            "dial": rule.way.dial,
            "addresses": rule.way.addresses.iter().map(ToString::to_string).chain(rule.forbidden.iter().map(ToString::to_string)).collect::<Vec<_>>(),
            "seen_at": rule.seen_at,
            "lines": lines(rule),
        });
        merge(&mut value, times(&rule.times));
        value["observed"] = rule.times.observed.into();
        value
    };
    let with_why = |(suggested, why): &(Suggested, String)| {
        let mut value = rule(suggested);
        value["leads_to"] = why.as_str().into();
        value
    };
    let told = |mut value: Value, seen: &Times| {
        merge(&mut value, times(seen));
        value
    };
    json!({
        "schema": "exeat-suggest/1",
        "agent": agent,
        "file": learned.file,
        "written": learned.written,
        "observed": learned.observed,
        "allowed": suggestion.allowed,
        "left_out": learned.left_out,
        "cut": learned.cut,
        "rules": rules.iter().map(rule).collect::<Vec<_>>(),
        "to_trust_first": distrusted.iter().map(with_why).collect::<Vec<_>>(),
        "out_of_reach": out_of_reach.iter().map(with_why).collect::<Vec<_>>(),
        "denied": suggestion.denied.iter().map(|(denial, seen)| told(json!({ "reason": denial.reason() }), seen)).collect::<Vec<_>>(),
        "barred": suggestion.barred.iter()
            .map(|it| told(json!({ "rule": it.rule.to_string(), "to": it.destination, "addresses": it.addresses }), &it.times))
            .collect::<Vec<_>>(),
        "misdirected": learned.misdirected.iter().map(|(to, seen)| told(json!({ "to": to }), seen)).collect::<Vec<_>>(),
        "unspoken": learned.unspoken.iter().map(|(to, seen)| told(json!({ "to": to }), seen)).collect::<Vec<_>>(),
        "unanswered": learned.unanswered.iter()
            .map(|(to, (why, seen))| told(json!({ "to": to, "reason": why }), seen))
            .collect::<Vec<_>>(),
    })
}

fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_steers_no_terminal_and_is_one_line() {
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}c\u{9b}\u{200b}d\u{2028}"), "a?[31m?b?c??d?");
        assert_eq!(shown(&"x".repeat(1000)).len(), 300);
    }
}
