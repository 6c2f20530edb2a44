//! The report as a page in Markdown.
//!
//! Enters: the document. Leaves: text that is safe on a terminal and in a browser. Never: a letter out of a log, a file or a policy that either
//! would act on.

use std::fmt::Write;

use super::control::{Assessed, List, Status};
use super::document::Document;
use super::facts::{Activity, Facts};
use super::measure::many;

const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The page.
pub(super) fn of(document: &Document, since: &str) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = head(&mut out, document, since)
        .and_then(|()| measured(&mut out, &document.facts))
        .and_then(|()| List::ALL.into_iter().try_for_each(|list| controls(&mut out, list, &document.controls)));
    out
}

fn head(out: &mut String, document: &Document, since: &str) -> std::fmt::Result {
    let Document { agent, at, version, config, state, controls, .. } = document;
    writeln!(out, "# Evidence of agent {}\n", code(agent))?;
    writeln!(
        out,
        "Made {} by exeat {version} from what is in {} and {}; calls, leases and decisions of the last {}.\n",
        at.strftime(TIME),
        code(config),
        code(state),
        printable(since)
    )?;
    writeln!(
        out,
        "*Evidenced*: all that this report looks at for the control was measured, and is so. *Partly*: some of it. *Not covered*: none"
    )?;
    writeln!(
        out,
        "of it. What was not measured counts as open. The controls are described in this project's words.\n"
    )?;
    writeln!(out, "| list | evidenced | partly | not covered |\n|---|--:|--:|--:|")?;
    for list in List::ALL {
        let count = |status| controls.iter().filter(|one| one.list == list && one.status == status).count();
        let (evidenced, partly) = (count(Status::Evidenced), count(Status::Partly));
        writeln!(out, "| {} | {evidenced} | {partly} | {} |", list.title(), count(Status::NotCovered))?;
    }
    Ok(())
}

fn measured(out: &mut String, facts: &Facts) -> std::fmt::Result {
    writeln!(out, "\n## What was measured\n")?;
    match &facts.policy {
        Some(policy) => {
            writeln!(
                out,
                "- Policy {} ({}): {} allow rules, {} deny rules.",
                code(&policy.file),
                code(&policy.digest),
                policy.allow,
                policy.deny
            )?;
            for wide in &policy.widest {
                writeln!(
                    out,
                    "  - wide: {}, to {}: {}",
                    printable(&wide.rule),
                    code(&wide.to),
                    wide.because.join(", ")
                )?;
            }
        }
        None => writeln!(
            out,
            "- Policy: none that can be used: {}.",
            printable(facts.policy_unusable.as_deref().unwrap_or("not measured"))
        )?,
    }
    match &facts.credentials {
        Some(credentials) => {
            writeln!(out, "- Credentials that list the agent: {}.", credentials.len())?;
            for one in credentials {
                let also = if one.also_of.is_empty() {
                    String::new()
                } else {
                    format!("; also for {}", one.also_of.join(", "))
                };
                let permission = if one.needs_permission { "; needs a person's permission" } else { "" };
                let unused = if one.named_by_a_rule { "" } else { "; no rule names it" };
                writeln!(
                    out,
                    "  - {} by {} ({}), to {}{permission}{unused}{also}",
                    code(&one.name),
                    code(&one.issuer),
                    code(&one.place),
                    code(&one.to.join(" "))
                )?;
            }
        }
        None => writeln!(out, "- Credentials: not measured.")?,
    }
    match &facts.findings {
        Some(findings) => {
            writeln!(out, "- Findings of `exeat check`: {}.", findings.len())?;
            for found in findings {
                let accepted =
                    found.accepted.as_ref().map(|why| format!("; accepted: {}", printable(why))).unwrap_or_default();
                writeln!(out, "  - {} at {}: {}{accepted}", found.risk, code(&found.place), printable(&found.reason))?;
            }
        }
        None => writeln!(out, "- Findings of `exeat check`: not measured.")?,
    }
    for note in &facts.notes {
        writeln!(out, "- Not judged: {}.", printable(note))?;
    }
    match &facts.leases {
        Some(leases) => writeln!(
            out,
            "- Leases: {} given; {} revoked, {} ran out, {} returned, {} with living workers, {} kept, {} unanswered, {} refused.",
            leases.given,
            leases.revoked,
            leases.expired,
            leases.returned,
            leases.leased,
            leases.kept,
            leases.unanswered,
            leases.refused
        )?,
        None => writeln!(out, "- Leases: none was asked for.")?,
    }
    logs(out, facts)?;
    match &facts.probe {
        Some(probe) => {
            let sum = |of: fn(&super::facts::Group) -> u64| probe.groups.values().map(of).sum::<u64>();
            writeln!(
                out,
                "- Last `exeat probe` ({}): {} held, {} broke, {} not applicable.",
                probe.at.strftime(TIME),
                sum(|group| group.held),
                sum(|group| group.broke),
                sum(|group| group.not_applicable)
            )?;
        }
        None => writeln!(out, "- `exeat probe`: never run for this agent.")?,
    }
    match (&facts.offboarded, &facts.running) {
        (Some(_), Some(running)) => writeln!(out, "- Offboarded; workers that run: {}.", running.len()),
        (None, Some(running)) => writeln!(out, "- Not offboarded; workers that run: {}.", running.len()),
        (_, None) => writeln!(out, "- Workers that run: not measured."),
    }
}

fn logs(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let logs = &facts.logs;
    writeln!(
        out,
        "- Call logs: {}, verified by {}: {} records as written, {} of them signed for, {} logs not signed for, {} logs CHANGED.",
        logs.logs,
        logs.by,
        logs.records,
        logs.signed,
        logs.unsigned,
        logs.broken.len()
    )?;
    for broken in &logs.broken {
        writeln!(out, "  - {}: {}", code(&broken.worker), printable(&broken.why))?;
    }
    let Some(activity) = &facts.activity else { return writeln!(out, "- Activity: not measured.") };
    let Activity { calls, refused, alerts, workers, with_credential, tunnels, .. } = activity;
    let between =
        [activity.first, activity.last].map(|at| at.map_or("never".to_owned(), |at| at.strftime(TIME).to_string()));
    writeln!(
        out,
        "- Activity, {}: {workers} workers, {calls} calls ({with_credential} with a credential, {tunnels} unread), {refused} refusals, {alerts} alerts.",
        between.join(" to ")
    )?;
    if activity.batteries > 0 {
        writeln!(
            out,
            "  - {} of `exeat probe` beside these, whose attempts are not counted.",
            many(activity.batteries, "run")
        )?;
    }
    if !activity.by_host.is_empty() {
        writeln!(out, "\n| host | calls | refused | bytes to it | bytes from it |\n|---|--:|--:|--:|--:|")?;
        for host in &activity.by_host {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                cell(&host.to),
                host.calls,
                host.refused,
                host.sent,
                host.received
            )?;
        }
        if activity.more_hosts > 0 {
            writeln!(out, "| {} more hosts | | | | |", activity.more_hosts)?;
        }
        writeln!(out)?;
    }
    if !activity.refused_by_kind.is_empty() {
        writeln!(out, "| refused as | how often | the last |\n|---|--:|---|")?;
        for kind in &activity.refused_by_kind {
            writeln!(
                out,
                "| {} | {} | worker {}, record {} |",
                cell(&kind.kind),
                kind.refused,
                cell(&kind.last.worker),
                kind.last.seq
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn controls(out: &mut String, list: List, controls: &[Assessed]) -> std::fmt::Result {
    writeln!(out, "\n## {}", list.title())?;
    for Assessed { id, name, asks, status, evidence, open, .. } in controls.iter().filter(|one| one.list == list) {
        writeln!(out, "\n### {id} {name}: {status}\n\n{asks}\n")?;
        for point in evidence {
            writeln!(
                out,
                "- {} Read in: {}. Again: {}.",
                printable(&point.says),
                code(&point.source),
                code(&point.command)
            )?;
        }
        for what in open {
            writeln!(out, "- Open: {}.", printable(what))?;
        }
    }
    Ok(())
}

/// In a code span, in which Markdown reads nothing but its end.
fn code(text: &str) -> String {
    format!("`{}`", letters(text).replace('`', "'"))
}

/// The same in a table, where a bar would end the cell.
fn cell(text: &str) -> String {
    code(text).replace('|', "¦")
}

/// As text: what Markdown or a browser would act on has a backslash before it. The spans of code that this module's neighbours write stay.
fn printable(text: &str) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for letter in letters(text).chars() {
        is_code ^= letter == '`';
        if !is_code && matches!(letter, '<' | '>' | '[' | ']' | '*' | '\\' | '|' | '!') {
            out.push('\\');
        }
        out.push(letter);
    }
    // One that does not end would be none, and what is in it be read.
    if is_code { printable(&text.replace('`', "'")) } else { out }
}

fn letters(text: &str) -> String {
    let is_hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().map(|c| if c.is_control() || is_hidden(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{cell, code, printable};

    #[test]
    fn nothing_in_a_text_is_acted_on() {
        assert_eq!(
            printable("<script> [a](b) *x* \u{1b}[31m\u{202e} `a|<b>` |"),
            "\\<script\\> \\[a\\](b) \\*x\\* ?\\[31m? `a|<b>` \\|"
        );
        assert_eq!(code("a`b\n|c"), "`a'b?|c`");
        assert_eq!(cell("a|b"), "`a¦b`");
        // A span of code that does not end hides nothing from then on but its own line.
        assert_eq!(printable("`open <b>"), "'open \\<b\\>");
    }
}
