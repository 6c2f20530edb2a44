//! The story of a call, for a person.
//!
//! Enters: all there is to tell. Leaves: lines, a word and what there is to say of it. Never: what acts on a terminal.

use std::io::{self, Write};

use ::broker::ledger::{Entry as Leased, State};
use jiff::Timestamp;
use record::{CallEnd, CallStart, Event, Refused, TlsLeg, Trace, TunnelStart};

use super::super::row::{Row, site};
use super::Story;
use crate::plain::plain;

const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

/// Lines under way.
struct Lines<'o, W> {
    out: &'o mut W,
}

impl<W: Write> Lines<'_, W> {
    fn line(&mut self, word: &str, text: impl AsRef<str>) -> io::Result<()> {
        let mut word = word;
        for line in text.as_ref().lines() {
            writeln!(self.out, "  {word:<11} {}", plain(line))?;
            word = "";
        }
        Ok(())
    }

    fn some(&mut self, word: &str, text: Option<impl AsRef<str>>) -> io::Result<()> {
        text.map_or(Ok(()), |text| self.line(word, text))
    }
}

/// Writes it.
pub(super) fn tell(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let [start, rest @ ..] = &story.parsed[..] else { return Ok(()) };
    let end = rest.iter().find_map(|record| match &record.line.event {
        Event::CallEnd(end) => Some((record.line.time, end)),
        _ => None,
    });
    let row = Row::of(story.id.clone(), &story.agent, start);
    let row = row.and_then(|row| match rest.last().filter(|_| end.is_some()) {
        Some(last) => row.ended_by(last),
        None => Some(row),
    });
    if let Some(row) = &row {
        writeln!(out, "{}  {}  {}", plain(&story.id), plain(row.result()), plain(&row.call()))?;
    }
    let mut lines = Lines { out };
    who(&mut lines, story)?;
    match &start.line.event {
        Event::CallStart(call) => {
            rule(&mut lines, story, "allowed by")?;
            called(&mut lines, story, call)?;
        }
        Event::TunnelStart(tunnel) => {
            rule(&mut lines, story, "allowed by")?;
            tunnelled(&mut lines, tunnel)?;
        }
        Event::Refused(refusal) => refused(&mut lines, story, refusal)?,
        _ => {}
    }
    for record in &story.parsed {
        lines.some("CUT", record::cut::told(&record.line.cut))?;
    }
    asked(&mut lines, story)?;
    went(&mut lines, start.line.time, end, matches!(start.line.event, Event::Refused(_)))?;
    evidence(&mut lines, story)
}

fn who<W: Write>(lines: &mut Lines<'_, W>, story: &Story) -> io::Result<()> {
    lines.line("agent", &story.agent)?;
    lines.line("worker", &story.worker)?;
    lines.some("identity", story.identity.as_ref())?;
    lines.some("command", story.command.as_ref().map(|command| command.join(" ")))?;
    lines.some("exeat", story.version.as_ref())
}

fn rule<W: Write>(lines: &mut Lines<'_, W>, story: &Story, word: &str) -> io::Result<()> {
    let Some(rule) = &story.rule else { return Ok(()) };
    let line = rule.line.map(|line| format!(":{line}")).unwrap_or_default();
    lines.line(word, format!("{}, {}{line}", rule.rule, rule.file.display()))?;
    match &rule.lines {
        Some(own) => own.iter().try_for_each(|line| lines.line("", format!("| {line}"))),
        None if rule.line.is_none() => Ok(()),
        None if rule.policy.is_none() => lines.line("", "(its record does not say which version of the file judged)"),
        None if !rule.file.exists() => lines.line("", "(the file is not there any more)"),
        None => lines.line("", "(the file has changed since: it is not what judged)"),
    }?;
    lines.some("policy", rule.policy.as_ref())
}

fn called<W: Write>(lines: &mut Lines<'_, W>, story: &Story, call: &CallStart) -> io::Result<()> {
    if let Some(observed) = &call.observed {
        lines.line("OBSERVED", format!("would be refused: {}: {}", observed.kind, observed.reason))?;
    }
    lines.some("tool", call.tool.as_ref())?;
    if let Some(used) = &call.credential {
        let how = if used.injected { "put into" } else { "in" };
        let places = used.places.join(", ");
        let places = if places.is_empty() { String::new() } else { format!(", {how} {places}") };
        lines.line("credential", format!("{}{places}", used.name))?;
        lines.some("waited", used.waited_ms.map(|ms| format!("{} for a person's permission", time(ms))))?;
        lease(lines, story, &used.lease)?;
    }
    lines.some("shown", call.client_certificate.as_ref().map(|sha| format!("client certificate {sha}, if asked")))?;
    lines
        .line("client", format!("connection {}, {}{}", call.connection, call.http, tls(call.client_tls.as_deref())))?;
    trace(lines, call.trace.as_ref())
}

fn lease<W: Write>(lines: &mut Lines<'_, W>, story: &Story, id: &str) -> io::Result<()> {
    let Some(lease) = story.leases.iter().find(|lease| lease.lease.to_string() == id) else {
        return lines.line("lease", format!("{id} (no ledger of this state directory has it)"));
    };
    let Leased { asked, expires, state, changed, reason, .. } = lease;
    lines.line("lease", format!("{id}, asked for {}", asked.strftime(TIME)))?;
    let until =
        expires.map_or("no end of its own".to_owned(), |end| format!("until {} at the latest", end.strftime(TIME)));
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match state {
        State::Leased => lines.line("", format!("leased since {}, {until}", changed.strftime(TIME))),
        state => lines.line("", format!("{state} {}{reason}; {until}", changed.strftime(TIME))),
    }
}

fn tunnelled<W: Write>(lines: &mut Lines<'_, W>, tunnel: &TunnelStart) -> io::Result<()> {
    lines.line("client", format!("connection {}, carried unread ({})", tunnel.connection, tunnel.tls))
}

fn refused<W: Write>(lines: &mut Lines<'_, W>, story: &Story, refused: &Refused) -> io::Result<()> {
    if refused.alert {
        lines.line("ALERT", "someone should look at this")?;
    }
    lines.line("refused", format!("{}: {}", refused.kind, refused.reason))?;
    lines.some("hint", refused.hint.as_ref())?;
    rule(lines, story, "rule")?;
    lines.some("tool", refused.tool.as_ref())?;
    lines.some("answered", refused.status.map(|status| status.to_string()))?;
    let to = site(refused.scheme.as_deref().unwrap_or("https"), &refused.to);
    lines.line("client", format!("connection {}, to {to}", refused.connection))?;
    trace(lines, refused.trace.as_ref())
}

fn trace<W: Write>(lines: &mut Lines<'_, W>, trace: Option<&Trace>) -> io::Result<()> {
    lines.some("trace", trace.map(|one| format!("{} span {} parent {}", one.trace_id, one.span_id, one.parent)))
}

fn asked<W: Write>(lines: &mut Lines<'_, W>, story: &Story) -> io::Result<()> {
    let record = story.asked.as_ref().map(|asked| serde_json::from_str::<record::Line>(asked.record.get()));
    match record.and_then(Result::ok).map(|line| (line.time, line.event)) {
        Some((time, Event::NameAsked(asked))) => {
            lines.line("name", format!("{} asked for ({}) {}", asked.name, asked.kind, time.strftime(TIME)))
        }
        _ => Ok(()),
    }
}

fn went<W: Write>(
    lines: &mut Lines<'_, W>,
    began: Timestamp,
    end: Option<(Timestamp, &CallEnd)>,
    refused: bool,
) -> io::Result<()> {
    lines.line("began", began.strftime(TIME).to_string())?;
    let Some((ended, end)) = end else {
        return if refused { Ok(()) } else { lines.line("ended", "not yet, or its worker was killed") };
    };
    let status = end.status.map(|status| format!(", status {status}")).unwrap_or_default();
    lines.line("ended", format!("{}: {}{status}", ended.strftime(TIME), end.outcome))?;
    lines.some("why", end.reason.as_ref())?;
    let head = end.head_ms.map(|ms| format!("head after {}, ", time(ms))).unwrap_or_default();
    lines.line("took", format!("{head}{} in all", time(end.total_ms)))?;
    let proxy = end.proxy.as_ref().map(|proxy| format!(" (the proxy {proxy})")).unwrap_or_default();
    let upstream = end.address.as_ref().map(|dialled| format!("{dialled}{proxy}{}", tls(end.upstream_tls.as_deref())));
    lines.some("dialled", upstream)?;
    lines.some("FORBIDDEN", end.forbidden.map(|address| format!("its name led to {address}, which no rule lists")))?;
    let again = end.retried.as_ref();
    lines.some("retried", again.map(|again| format!("after a 401 to {}, with {}", again.refused, again.lease)))?;
    lines.line("bytes", format!("{} sent, {} received", end.sent, end.received))?;
    let times = |count: u64| match count {
        0 => None,
        1 => Some("once".to_owned()),
        count => Some(format!("{count} times")),
    };
    lines.some("swapped", times(end.swapped).map(|times| format!("a placeholder in the body, {times}")))?;
    lines.some("SCRUBBED", times(end.scrubbed).map(|times| format!("a credential in the answer, {times}")))
}

fn evidence<W: Write>(lines: &mut Lines<'_, W>, story: &Story) -> io::Result<()> {
    for (record, told) in story.parsed.iter().zip(&story.records) {
        lines.line("record", format!("{} {}", record.line.seq, told.hash))?;
    }
    let chain = &story.chain;
    let from = match chain.from {
        1 => "the first".to_owned(),
        from => format!("record {from} (those before it are not there any more)"),
    };
    match chain.broken {
        None => lines.line("chain", format!("each record from {from} to {} follows from the one before it", chain.to)),
        Some(broken) => lines.line("CHANGED", format!("record {broken} does not follow from the one before it")),
    }
}

fn tls(leg: Option<&TlsLeg>) -> String {
    let Some(leg) = leg else { return String::new() };
    let more = [&leg.group, &leg.alpn].into_iter().flatten().map(|more| format!(" {more}"));
    format!(", {} {}{}", leg.version, leg.cipher, more.collect::<String>())
}

fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 10_000.0 => format!("{ms:.1} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}
