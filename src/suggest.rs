//! `exeat suggest`: the smallest rules that cover what an agent called.
//!
//! Enters: the agent's file and the logs of its workers. Leaves: rules, each with how often and when; with `--write` in the file, which keeps
//! its comments and order. Never: a rule for what a deny rule has, an address that somebody would have to trust first, or a
//! credential; a file that does not load.

mod edit;
mod seen;
mod told;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use config::{AgentId, Destination, Sighting, Suggested, Suggestion, Times, suggest};
use proxy::resolve;

use crate::ago::since;
use crate::args;
use crate::calls;
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

/// What an agent's calls come to.
#[derive(Debug)]
struct Learned {
    agent: AgentId,
    file: PathBuf,
    /// Whether a worker observed.
    observed: bool,
    /// To be added.
    rules: Vec<Suggested>,
    /// To be added by hand, with what they lead to.
    distrusted: Vec<(Suggested, String)>,
    /// To be added by nobody.
    out_of_reach: Vec<(Suggested, String)>,
    suggestion: Suggestion,
    unanswered: BTreeMap<Destination, (String, Times)>,
    misdirected: BTreeMap<Destination, Times>,
    unspoken: BTreeMap<Destination, Times>,
    left_out: u64,
    cut: u64,
    /// What was added, where it was.
    written: Option<String>,
}

/// Suggests, and writes where that is asked for.
///
/// # Errors
/// When the logs cannot be listed, or the agent's file cannot be read, or would not load with the rules.
pub fn run(places: &Places, arguments: &args::Suggest) -> Result<ExitCode, Report> {
    let file = places.file_of(&arguments.agent)?;
    let original = edit::Original::read(arguments.agent.clone(), file.clone())?;
    let policy = original.policy();
    let since = arguments.since.as_deref().map(since).transpose()?;
    let seen = seen::read(places, policy, since)?;
    // What the others show stands.
    calls::say(&seen.flaws);
    let calls: Vec<Sighting> = seen.calls.into_values().collect();
    let mut suggestion = suggest(policy, &calls);
    suggestion.allowed += seen.allowed;
    // What was refused then is told of only as far as it would be refused now.
    let denied: Vec<Sighting> = seen.denied.into_values().collect();
    suggestion.denied.extend(suggest(policy, &denied).denied);
    let (mut rules, mut distrusted, mut out_of_reach) = (Vec::new(), Vec::new(), Vec::new());
    for rule in std::mem::take(&mut suggestion.rules) {
        match what(&rule) {
            None => rules.push(rule),
            Some((why, true)) => out_of_reach.push((rule, why)),
            Some((why, false)) => distrusted.push((rule, why)),
        }
    }
    let (agent, observed) = (arguments.agent.clone(), seen.observed);
    let seen::Seen { unanswered, misdirected, unspoken, left_out, cut, .. } = seen;
    let mut learned = Learned {
        agent,
        file,
        observed,
        rules,
        distrusted,
        out_of_reach,
        suggestion,
        unanswered,
        misdirected,
        unspoken,
        left_out,
        cut,
        written: None,
    };
    if arguments.write && !learned.rules.is_empty() {
        let edited = original.with_rules(&learned.rules)?;
        original.replace(&edited.text)?;
        learned.written = Some(edited.to_string());
    }
    let mut out = out();
    match arguments.json {
        true => out.json(&told::document(&learned))?,
        false => write!(out, "{learned}")?,
    }
    if let Some(added) = &learned.written {
        crate::remark(&Report::new(format!("added {added}, in `{}`", learned.file.display())));
    }
    Ok(ExitCode::SUCCESS)
}

/// What a rule's addresses are, where somebody would have to trust them; and whether nobody should: this machine itself, and what hands out a
/// cloud's credentials.
fn what(rule: &Suggested) -> Option<(String, bool)> {
    let told: Vec<String> = rule
        .forbidden
        .iter()
        .map(|address| match resolve::class(*address) {
            Some(class) => format!("{address} ({class})"),
            None => address.to_string(),
        })
        .collect();
    let own = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.octets() == [168, 63, 129, 16],
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.segments()[..2] == [0xfd00, 0xec2],
    };
    (!told.is_empty()).then(|| (told.join(", "), rule.forbidden.iter().any(own)))
}
