//! `exeat man`: a page for each command.
//!
//! Enters: the definition of the command line, with its exit codes. Leaves: pages in roff, on standard output or in a directory. Never: a
//! page about what is hidden, nor a date, so that the same exeat always writes the same pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use crate::args;
use crate::out::out;
use crate::report::Report;

/// What people write and read, below the directories that `--config` and `--state` name.
const FILES: [(&str, &str); 6] = [
    ("~/.config/exeat/agents/NAME.toml", "what an agent may do: its rules, and what its sandbox may have and use up"),
    (
        "~/.config/exeat/credentials.toml",
        "which credential is had from where, and lent to which agent for which destination",
    ),
    ("~/.config/exeat/broker.toml", "what the broker is called, and the keys that it signs with"),
    ("~/.config/exeat/log.toml", "for how long or up to which size call logs are kept, and where they are shipped to"),
    ("~/.local/state/exeat/workers/ID/", "each worker's call log"),
    ("~/.local/state/exeat/leases/", "who holds what until when"),
];
const VARIABLES: [(&str, &str); 5] = [
    ("EXEAT_CONFIG", "where the files are that people write, unless --config says it"),
    ("EXEAT_STATE", "where workers keep their logs and brokers their leases, unless --state says it"),
    ("EXEAT_LOG", "diagnostics of exeat itself: a filter, such as proxy=debug"),
    ("EXEAT_UNLOCKED_WORKER", "1: as run --unlocked-worker, for demo and probe too"),
    ("NO_COLOR", "no colours at a terminal"),
];

/// Where an apostrophe comes from.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Prints or writes the pages.
///
/// # Errors
/// When the directory cannot be written to.
pub fn run(arguments: &args::Man) -> Result<ExitCode, Report> {
    let Some(directory) = &arguments.directory else {
        let (_, page) = pages()?.swap_remove(0);
        out().write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed = |path: &Path, error: io::Error| {
        Report::new(format!("cannot write the manual to `{}`: {error}", path.display()))
            .hint("name a directory that you may write to, such as ~/.local/share/man/man1")
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut written = String::new();
    for (name, page) in pages()? {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
        written += &format!("{}\n", path.display());
    }
    out().write_all(written.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Every page by its name, that of exeat itself first.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut whole = args::offered().disable_help_subcommand(true);
    whole.build();
    let mut pages = Vec::new();
    let mut open = vec![(whole, None)];
    while let Some((command, parent)) = open.pop() {
        let name = match &parent {
            Some(parent) => format!("{parent}-{}", command.get_name()),
            None => command.get_name().to_owned(),
        };
        open.extend(command.get_subcommands().map(|below| (below.clone(), Some(name.clone()))));
        pages.push((name.clone(), page(&name, parent.as_deref(), command)?));
    }
    Ok(pages)
}

fn page(name: &str, parent: Option<&str>, command: Command) -> io::Result<Vec<u8>> {
    // As `args` calls it: without exeat's own name.
    let own = name.split('-').skip(1).collect::<Vec<_>>().join(" ");
    let below: Vec<String> = command.get_subcommands().map(|below| format!("{name}-{}", below.get_name())).collect();
    // Exit codes have a section of their own; what a command says in other words stays as it is.
    let help = command.get_after_help().cloned().filter(|help| help.to_string() != args::told(&own));
    let has_codes = help.is_none() && parent.is_some() && !command.is_subcommand_required_set();
    let has_extra = help.is_some();
    let command = Command::after_help(command, help.unwrap_or_default()).display_name(name);
    let has_below = !below.is_empty();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_below {
        man.render_subcommands_section(&mut page)?;
    }
    if has_extra {
        man.render_extra_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if has_codes {
        section(&mut rest, "EXIT STATUS", args::codes(&own));
    }
    section(&mut rest, "FILES", &FILES);
    section(&mut rest, "ENVIRONMENT", &VARIABLES);
    rest.control("SH", ["SEE ALSO"]);
    let others: Vec<String> =
        parent.map(str::to_owned).into_iter().chain(below).map(|name| format!("{name}(1)")).collect();
    rest.text([roman(others.join(", "))]);
    rest.to_writer(&mut page)?;
    // Every section comes with it; once is enough.
    let page = ascii(&String::from_utf8_lossy(&page).replace(PREAMBLE, ""));
    let (title, version) = (name.to_ascii_uppercase(), env!("CARGO_PKG_VERSION"));
    Ok(format!("{PREAMBLE}.TH \"{title}\" \"1\" \"\" \"exeat {version}\" \"exeat\"\n{page}").into_bytes())
}

/// What is not ASCII, as every roff reads it.
fn ascii(page: &str) -> String {
    page.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) }).collect()
}

fn section(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (what, about) in entries {
        roff.control("TP", []);
        let what = if what.starts_with('~') { italic(*what) } else { bold(*what) };
        roff.text([what]);
        roff.text([roman(*about)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_command_that_is_offered() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "exeat");
        assert!(names.contains(&"exeat-run") && names.contains(&"exeat-broker-serve"), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("inside") || name.contains("help")), "{names:?}");
        for (name, page) in &pages {
            let text = String::from_utf8_lossy(page);
            assert!(text.contains(".SH FILES") && text.contains(".SH \"SEE ALSO\""), "{name}: {text}");
        }
    }

    #[test]
    fn a_page_says_what_the_exit_codes_say() {
        let pages = pages().unwrap();
        let (_, run) = pages.iter().find(|(name, _)| name == "exeat-run").unwrap();
        let run = String::from_utf8_lossy(run);
        for (code, _) in args::codes("run").iter().filter(|(code, _)| code.len() == 3) {
            assert!(run.contains(code), "{code}: {run}");
        }
        for (name, says) in [
            ("exeat-calls", "could not be read to its end"),
            ("exeat-calls-show", "they are not; where"),
            ("exeat-calls-prune", "that was to go stays"),
            ("exeat-broker-serve", "exeat failed"),
        ] {
            let (_, page) = pages.iter().find(|(found, _)| found == name).unwrap();
            let page = String::from_utf8_lossy(page);
            assert_eq!(page.matches("EXIT STATUS").count(), 1, "{name}: {page}");
            assert!(page.contains(says) && !page.contains("Exit codes:"), "{name}: {page}");
        }
        let (_, broker) = pages.iter().find(|(name, _)| name == "exeat-broker").unwrap();
        assert!(!String::from_utf8_lossy(broker).contains("EXIT STATUS"));
    }

    #[test]
    fn every_command_says_its_exit_codes_in_its_help() {
        let mut open: Vec<Command> = args::offered().get_subcommands().cloned().collect();
        while let Some(command) = open.pop() {
            open.extend(command.get_subcommands().cloned());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert_eq!(help.contains("Exit codes:"), !command.is_subcommand_required_set(), "{}", command.get_name());
        }
    }
}
