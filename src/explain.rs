//! `exeat explain`: what the policy says to one call, and why.
//!
//! Enters: an agent's file, credentials.toml, the logs of its workers that run, a method and a URL. Leaves: whether the call is allowed, by
//! which rule, with which credential and at which rate; or what stands in its way and the lines that would allow it. Never: a
//! look-up, a connection or a lease; what a name resolves to, and what is in a body, is judged when a call is made.

mod answer;
mod rate;

use std::io::{self, Write};
use std::process::ExitCode;

use config::{CallFacts, Credentials, Destination, Method, NormalPath, Policy, Scheme, TlsMode};

use self::answer::{Allowed, Answer, Lent};
use crate::args;
use crate::places::Places;
use crate::report::Report;

/// Explains; the exit code is 1 when the call is refused.
///
/// # Errors
/// When the agent's file has mistakes, or the URL is none.
pub fn run(places: &Places, arguments: &args::Explain) -> Result<ExitCode, Report> {
    let file = places.agent_file(&arguments.agent);
    let policy = Policy::load_without_secrets(&file)?;
    let asked = Asked::read(&arguments.method, &arguments.url)?;
    let answer = match asked.judged(&policy) {
        Ok(mut allowed) => {
            allowed.credential =
                allowed.credential.take().map(|lent| lend(places, &policy, &asked, lent)).transpose()?;
            if let Some(rate) = &mut allowed.rate {
                rate.workers = rate::left(places, &arguments.agent, &allowed.rule, rate.of)?;
            }
            Answer::allowed(&asked.to_string(), &file, allowed)
        }
        Err(denial) => Answer::refused(&asked.to_string(), &file, &denial),
    };
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
        false => write!(out, "{answer}")?,
    }
    Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A call as somebody asks for it.
struct Asked {
    method: Method,
    scheme: Scheme,
    destination: Destination,
    path: NormalPath,
}

impl Asked {
    /// A URL without a scheme is one of HTTPS; query and fragment count for nothing.
    fn read(method: &Method, url: &str) -> Result<Self, Report> {
        let wrong = |why: String| Report::new(format!("`{url}` cannot be asked about: {why}"));
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some((other, _)) => {
                let hint = "write https://… or http://…; of any other protocol only host and port are judged: `https://HOST:PORT`";
                return Err(wrong(format!("`{other}` is not HTTP")).hint(hint));
            }
            None => (Scheme::Https, url),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
        let destination = Destination::parse_authority(authority, scheme.default_port())
            .map_err(|malformed| wrong(malformed.to_string()).hint(malformed.hint()))?;
        let path = NormalPath::parse(path).map_err(|error| {
            wrong(error.to_string()).hint("such a call is answered with 400, whatever the policy says")
        })?;
        Ok(Self { method: method.clone(), scheme, destination, path })
    }

    /// As a connection first, then as a call over it, as the proxy does.
    fn judged(&self, policy: &Policy) -> Result<Allowed, config::Denial> {
        let Self { destination, scheme, method, path } = self;
        let facts = CallFacts { destination, scheme: *scheme, method, path };
        let permit = policy.connect(destination).map_err(|denial| denial.of(&facts))?;
        if let Some(tunnel) = permit.tunnel().filter(|it| self.scheme == Scheme::Https || it.mode() == TlsMode::Tcp) {
            return Ok(Allowed::unread(&tunnel));
        }
        policy.call(&facts).map(|permit| Allowed::read(&permit))
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, scheme, destination, path } = self;
        write!(f, "{method} {}://", scheme.as_str())?;
        match destination.port() == scheme.default_port() {
            true => write!(f, "{}", destination.host())?,
            false => write!(f, "{destination}")?,
        }
        f.write_str(path.as_str())
    }
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
    if !credential.grant.allows(&asked.destination) {
        return Ok(lent.but("its grant does not list this destination: a call with its placeholder is refused"));
    }
    Ok(lent.granted(&credential.grant))
}
