//! The counts beside their budget.
//!
//! Enters: the dumps of callgrind, in order, the list of what they are of, and the budget's file. Leaves: a table, and whether no part rose by
//! more than its room. Never: a part without a budget, nor a budget that nothing was counted for.

use std::fs;
use std::io::stdout;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use crate::{Failure, part, say};

/// Per cent that a part may rise, and fall without a word, where its budget says nothing else.
const ROOM: f64 = 10.0;
/// As `bench/budget` has callgrind name its dumps.
const DUMP: &str = "dump.";

/// Prints the table; with `write` the budget becomes what was counted.
pub fn compare(room: &Path, file: &Path, write: bool) -> Result<bool, Failure> {
    let mut budget: DocumentMut = fs::read_to_string(file)?.parse()?;
    let counted = counted(room)?;
    say(&mut stdout(), &format!("{:<38} {:>11} {:>11} {:>8}  room", "instructions", "budget", "now", "change"));
    let (mut holds, mut lower) = (true, false);
    for (name, now) in &counted {
        let old = budget.get(name).and_then(|part| part.get("instructions")).and_then(Item::as_integer);
        let room = budget.get(name).and_then(|part| part.get("room")).and_then(Item::as_integer);
        let room = room.and_then(|room| u32::try_from(room).ok()).map_or(ROOM, f64::from);
        let (said, change, word) = match old.and_then(|old| u32::try_from(old).ok()) {
            None => ("none".to_owned(), String::new(), "  NO BUDGET"),
            Some(old) => {
                let change = (f64::from(*now) / f64::from(old.max(1)) - 1.0) * 100.0;
                let word = match () {
                    () if change > room => "  OVER",
                    () if change < -room => "  lower the budget",
                    () => "",
                };
                (old.to_string(), format!("{change:+.1} %"), word)
            }
        };
        holds &= !matches!(word, "  OVER" | "  NO BUDGET");
        lower |= word == "  lower the budget";
        say(&mut stdout(), &format!("{name:<38} {said:>11} {now:>11} {change:>8}  {room:.0} %{word}"));
        if write {
            let part = budget.entry(name).or_insert_with(|| Item::Table(Table::new()));
            part["instructions"] = value(i64::from(*now));
        }
    }
    for (name, _) in budget.iter().filter(|(name, _)| counted.iter().all(|(counted, _)| counted != name)) {
        say(&mut stdout(), &format!("{name:<38} has a budget, and nothing was counted for it"));
        holds = false;
    }
    if write {
        fs::write(file, budget.to_string())?;
        return Ok(true);
    }
    if lower {
        say(&mut stdout(), "Some cost less by more than their room: `bench/budget --write` keeps it that way.");
    }
    if !holds {
        say(
            &mut stdout(),
            "The hot path costs more than its budget. If it has to, `bench/budget --write` and say why.",
        );
    }
    Ok(holds)
}

/// How many instructions each part takes, once: in the best of its rounds, as whatever disturbs one adds to it.
fn counted(room: &Path) -> Result<Vec<(String, u32)>, Failure> {
    let list = fs::read_to_string(room.join(part::LIST))?;
    let mut counted: Vec<(String, u32)> = Vec::new();
    for (index, line) in list.lines().enumerate() {
        let (times, name) = line.split_once('\t').ok_or("the list of parts is broken")?;
        if name == part::BEFORE {
            continue;
        }
        let each = u32::try_from(dump(room, index + 1)? / times.parse::<u64>()?)?;
        match counted.iter_mut().find(|(counted, _)| counted == name) {
            Some((_, least)) => *least = each.min(*least),
            None => counted.push((name.to_owned(), each)),
        }
    }
    Ok(counted)
}

/// All that was counted in the dump with this number: of one thread, that of the one that asked for it.
fn dump(room: &Path, number: usize) -> Result<u64, Failure> {
    let beginning = format!("{DUMP}{number}-");
    let mut found = None;
    for file in fs::read_dir(room)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(&beginning) {
            let text = fs::read_to_string(file.path())?;
            let sum = text.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("a dump has no totals")?;
            if found.replace(sum.trim().parse()?).is_some() {
                return Err(format!("dump {number} is of two threads").into());
            }
        }
    }
    found.ok_or_else(|| format!("there is no dump {number}").into())
}
