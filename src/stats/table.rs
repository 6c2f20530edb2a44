//! The numbers, for a person.
//!
//! Enters: a summary, and how to draw in the terminal, if it is one. Leaves: lines, no longer than the terminal is wide. Never: what acts on a terminal.

use std::io::{self, Write};

use super::chart::{Drawing, fitted};
use super::tally::{Group, Summary};
use crate::plain::plain;

const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";
/// What a row has beside its two names, and how much room each takes.
const COLUMNS: [&str; 10] =
    ["CALLS", "REFUSED", "FAILED", "ERRORS", "P50 MS", "P99 MS", "SENT", "RECEIVED", "HEAD P50", "HEAD P99"];
const COLUMN: usize = 9;
/// As many of them are shown in however narrow a terminal.
const FEWEST: usize = 3;
/// A name that is cut shorter says nothing.
const SHORTEST: usize = 12;
const BAR: usize = 12;
const RED: u8 = 1;
const GREEN: u8 = 2;

/// Writes it.
pub(super) fn show(out: &mut impl Write, summary: &Summary, drawing: Option<&Drawing>) -> io::Result<()> {
    let Summary { calls, refused, failed, errors, .. } = summary;
    writeln!(out, "{calls} calls, {refused} refused, {failed} failed, {errors} errors")?;
    over_time(out, summary, drawing)?;
    if !summary.groups.is_empty() {
        groups(out, summary, drawing)?;
    }
    if !summary.refusals.is_empty() {
        writeln!(out, "\nREFUSED MOST")?;
    }
    let most = summary.refusals.first().map_or(0, |refusals| refusals.count);
    for refusals in &summary.refusals {
        let bar = drawing.map_or(String::new(), |drawing| {
            let bar = drawing.bar(BAR, refusals.count, most);
            drawing.coloured(&format!("{bar:<BAR$} "), RED)
        });
        let text = format!("{} {} {}", refusals.agent, site(&refusals.to), refusals.kind);
        let room = drawing.map_or(usize::MAX, |drawing| drawing.width.saturating_sub(BAR + 10));
        writeln!(out, "{:<8} {bar}{}", refusals.count, cut(&text, room.max(SHORTEST)))?;
    }
    Ok(())
}

fn over_time(out: &mut impl Write, summary: &Summary, drawing: Option<&Drawing>) -> io::Result<()> {
    let Some(spread) = &summary.over_time else { return Ok(()) };
    writeln!(out, "from {} to {}", spread.from.strftime(TIME), spread.to.strftime(TIME))?;
    let Some(drawing) = drawing else { return Ok(()) };
    let room = drawing.width.saturating_sub(10).max(1);
    for (word, numbers, colour) in [("calls", &spread.calls, GREEN), ("refused", &spread.refused, RED)] {
        if numbers.iter().any(|number| *number > 0) {
            let line = drawing.spark(&fitted(numbers, room));
            writeln!(out, "{word:<8} {}", drawing.coloured(&line, colour))?;
        }
    }
    Ok(())
}

fn groups(out: &mut impl Write, summary: &Summary, drawing: Option<&Drawing>) -> io::Result<()> {
    let longest = |heading: &str, name: fn(&Group) -> &str| {
        summary.groups.iter().map(|group| plain(name(group)).chars().count()).max().unwrap_or(0).max(heading.len())
    };
    let (mut agent, mut host) = (longest("AGENT", |group| &group.agent), longest("HOST", |group| site(&group.to)));
    let mut columns = COLUMNS.len();
    let mut bar = None;
    if let Some(drawing) = drawing {
        // The numbers that matter least give way first, then the names.
        let room = drawing.width.saturating_sub(1);
        columns = (room.saturating_sub((agent + host).min(3 * SHORTEST)) / COLUMN).clamp(FEWEST, columns);
        let names = room.saturating_sub(columns * COLUMN).max(2 * SHORTEST);
        agent = agent.min((names / 2).max(names.saturating_sub(host)));
        host = host.min(names - agent);
        bar = (agent + host + columns * COLUMN + BAR < room).then_some(drawing);
    }
    let most = summary.groups.first().map_or(0, |group| group.calls + group.refused);
    let heading: String = COLUMNS[..columns].iter().map(|column| format!(" {column:<8}")).collect();
    writeln!(out, "\n{}", format!("{:<agent$} {:<host$}{heading}", "AGENT", "HOST").trim_end())?;
    for group in &summary.groups {
        let numbers: String = numbers(group)[..columns].iter().map(|number| format!(" {number:<8}")).collect();
        let names = format!("{:<agent$} {:<host$}", cut(&group.agent, agent), cut(site(&group.to), host));
        let bar = bar.map_or(String::new(), |drawing| {
            drawing.coloured(&drawing.bar(BAR, group.calls + group.refused, most), GREEN)
        });
        let row = format!("{names}{numbers} {bar}");
        writeln!(out, "{}", row.trim_end())?;
    }
    match summary.more_groups {
        0 => Ok(()),
        1 => writeln!(out, "and 1 row more: --limit all"),
        more => writeln!(out, "and {more} rows more: --limit all"),
    }
}

fn numbers(group: &Group) -> [String; COLUMNS.len()] {
    let ms = |time: Option<f32>| match time {
        Some(ms) if ms < 100.0 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
        None => "-".to_owned(),
    };
    [
        group.calls.to_string(),
        group.refused.to_string(),
        group.failed.to_string(),
        group.errors.to_string(),
        ms(group.total_ms.p50),
        ms(group.total_ms.p99),
        bytes(group.sent),
        bytes(group.received),
        ms(group.head_ms.p50),
        ms(group.head_ms.p99),
    ]
}

/// Bytes in the unit in which they have at most four digits.
#[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut number, mut unit) = (count as f64, 0);
    while number >= 1000.0 && unit + 1 < units.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    match unit {
        0 => format!("{count}B"),
        _ if number < 10.0 => format!("{number:.1}{}", units[unit]),
        _ => format!("{number:.0}{}", units[unit]),
    }
}

fn site(to: &str) -> &str {
    to.strip_suffix(":443").unwrap_or(to)
}

/// What of a text fits.
fn cut(text: &str, room: usize) -> String {
    let text = plain(text);
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
        false => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_names_are_short() {
        let shown = [0, 999, 1000, 1024, 15_000, 1 << 20, u64::MAX].map(bytes);
        assert_eq!(shown, ["0B", "999B", "1.0KiB", "1.0KiB", "15KiB", "1.0MiB", "16EiB"]);
        assert_eq!((cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("\u{1b}", 3).as_str()), ("abc", "ab…", "?"));
    }
}
