//! `exeat explain`: what the policy says to one call, and why.
//!
//! Enters: an agent's file, credentials.toml, the logs of its workers that run, a method and a URL. Leaves: whether the call is allowed, by
//! which rule, with which credential and at which rate; or what stands in its way and the lines that would allow it. Never: a
//! look-up, a connection or a lease; what a name resolves to, and what is in a body, is judged when a call is made.

mod answer;
mod rate;

use std::io::Write;
use std::process::ExitCode;

use config::{Asked, Credentials, Permit, Policy};

use self::answer::{Allowed, Answer, Lent};
use crate::args;
use crate::out::out;
use crate::places::Places;
use crate::report::Report;

/// Explains; the exit code is 1 when the call is refused.
///
/// # Errors
/// When the agent's file has mistakes, or the URL is none.
pub fn run(places: &Places, arguments: &args::Explain) -> Result<ExitCode, Report> {
    let file = places.file_of(&arguments.agent)?;
    let policy = Policy::load_without_secrets(&file)?;
    let asked = Asked::of_url(arguments.method.clone(), &arguments.url)
        .map_err(|malformed| Report::new(malformed.to_string()).hint(malformed.hint().to_owned()))?;
    let answer = match asked.judged(&policy) {
        Ok(permit) => {
            let mut allowed = match &permit {
                Permit::Call(permit) => Allowed::read(permit),
                Permit::Unread(permit) => Allowed::unread(permit),
            };
            allowed.credential =
                allowed.credential.take().map(|lent| lend(places, &policy, &asked, lent)).transpose()?;
            if let Some(rate) = &mut allowed.rate {
                rate.workers = rate::left(places, &arguments.agent, &allowed.rule, rate.of)?;
            }
            Answer::allowed(&asked.to_string(), &file, allowed)
        }
        Err(denial) => Answer::refused(&asked.to_string(), &file, &denial),
    };
    let mut out = out();
    match arguments.json {
        true => out.json(&answer)?,
        false => write!(out, "{answer}")?,
    }
    Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the identity team grants what the rule names, and where it is swapped then.
fn lend(places: &Places, policy: &Policy, asked: &Asked, lent: Lent) -> Result<Lent, Report> {
    let file = places.credentials_file();
    if !file.exists() {
        return Ok(lent.but("there is no credentials.toml here; the broker's decides"));
    }
    let credentials = Credentials::load(&file)?;
    let Some(credential) = credentials.for_agent(policy.agent()).find(|it| it.grant.credential().as_str() == lent.name)
    else {
        return Ok(
            lent.but(format!("credentials.toml does not grant it to `{}`: the agent does not start", policy.agent()))
        );
    };
    if !credential.grant.allows(asked.destination()) {
        return Ok(lent.but("its grant does not list this destination: a call with its placeholder is refused"));
    }
    Ok(lent.granted(&credential.grant))
}
