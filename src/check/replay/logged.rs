//! A call as a log has it, and what a policy says to it today.
//!
//! Enters: an event. Leaves: what was decided then, and what would be now; or why that cannot be said. Never: a refusal that did not come of the
//! rules: a rate, an address, a placeholder, a request with two readings.

use config::{Asked, DenialKind, Destination, Method, NormalPath, Permit, Policy, Protocol, RuleId, Scheme};
use record::{CallStart, Event, Line, Refused, TunnelStart};

/// What a refusal of a tool is called.
const TOOL: &str = "tool-not-allowed";

/// A call or a connection, and what was decided.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) what: What,
    /// What its body asked for.
    pub(super) tool: Option<String>,
    pub(super) before: Before,
}

#[derive(Debug)]
pub(super) enum What {
    Call(Asked),
    /// One that passed unread, or was to.
    Connection(Destination),
}

/// What was decided then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    Allowed { rule: String, credential: Option<String>, unread: bool },
    Refused { kind: String, rule: Option<String> },
}

/// What is decided now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Now {
    Allowed { rule: RuleId, credential: Option<String>, unread: bool },
    Refused { kind: &'static str, rule: Option<RuleId> },
}

pub(super) enum Judgeable {
    Whole(Now),
    /// Its rule looks into bodies, and the log does not say what was in this one.
    Head(Now),
    Not(&'static str),
}

/// `None` for what is no call; the error says why it cannot be judged again.
pub(super) fn read(line: Line) -> Option<Result<Logged, String>> {
    let whole = line.is_whole(&["method", "path", "tool"]);
    match line.event {
        Event::CallStart(_) | Event::Refused(_) if !whole => {
            Some(Err("of whose method, path or tool the log has only the beginning".to_owned()))
        }
        Event::CallStart(start) => Some(allowed(start)),
        Event::TunnelStart(start) => Some(unread(start)),
        Event::Refused(refused) => Some(refusal(refused)),
        _ => None,
    }
}

fn allowed(start: CallStart) -> Result<Logged, String> {
    let CallStart { scheme, to, method, path, rule, credential, tool, observed, .. } = start;
    let asked = asked(Some(&scheme), &to, &method, &path)?;
    if asked.path().as_str() != path {
        return Err("whose path is not in its normal form, which no worker writes".to_owned());
    }
    let before = match observed {
        // It passed for the time in which the agent was only observed.
        Some(observed) => Before::Refused { kind: observed.kind, rule: None },
        None => Before::Allowed { rule, credential: credential.map(|used| used.name), unread: false },
    };
    Ok(Logged { what: What::Call(asked), tool, before })
}

fn unread(TunnelStart { to, rule, .. }: TunnelStart) -> Result<Logged, String> {
    let what = What::Connection(to.parse().map_err(|_| unreadable())?);
    Ok(Logged { what, tool: None, before: Before::Allowed { rule, credential: None, unread: true } })
}

fn refusal(refused: Refused) -> Result<Logged, String> {
    let Refused { to, scheme, method, path, tool, kind, rule, .. } = refused;
    if kind != TOOL && !DenialKind::NAMES.contains(&kind.as_str()) {
        return Err(format!("refused as {}, which is not for the rules to say", word(&kind)));
    }
    let what = match (method, path) {
        (Some(method), Some(path)) => What::Call(asked(scheme.as_deref(), &to, &method, &path)?),
        _ => What::Connection(to.parse().map_err(|_| unreadable())?),
    };
    Ok(Logged { what, tool, before: Before::Refused { kind, rule } })
}

/// A refusal of an older log has no scheme: then the port says.
fn asked(scheme: Option<&str>, to: &str, method: &str, path: &str) -> Result<Asked, String> {
    let destination: Destination = to.parse().map_err(|_| unreadable())?;
    let scheme = match scheme {
        Some("http") => Scheme::Http,
        None if destination.port() == Scheme::Http.default_port() => Scheme::Http,
        _ => Scheme::Https,
    };
    let method: Method = method.parse().map_err(|_| unreadable())?;
    Ok(Asked::new(method, scheme, destination, NormalPath::parse(path).map_err(|_| unreadable())?))
}

fn unreadable() -> String {
    "whose method, path or destination has no single reading".to_owned()
}

/// Kinds and agents are words; a log may have been written by somebody else.
pub(super) fn word(kind: &str) -> String {
    let in_one = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    kind.chars().filter(in_one).take(40).collect()
}

impl Logged {
    pub(super) fn judged(&self, policy: &Policy) -> Judgeable {
        match &self.what {
            What::Call(asked) => self.judged_as_call(asked, policy),
            What::Connection(destination) => self.judged_as_connection(destination, policy),
        }
    }

    fn judged_as_call(&self, asked: &Asked, policy: &Policy) -> Judgeable {
        let permit = match asked.judged(policy) {
            Ok(permit) => permit,
            Err(denial) => {
                let now = Now::Refused { kind: denial.kind().as_str(), rule: denial.rule().cloned() };
                return Judgeable::Whole(now);
            }
        };
        let credential = permit.credential().map(ToString::to_string);
        let unread = matches!(permit, Permit::Unread(_));
        let now = Now::Allowed { rule: permit.rule().clone(), credential, unread };
        match (permit.protocol(), self.tools()) {
            (None, _) => Judgeable::Whole(now),
            (Some(Protocol::Mcp(mcp)), Some(tools)) => match tools.iter().all(|tool| mcp.has_tool(tool)) {
                true => Judgeable::Whole(now),
                false => Judgeable::Whole(Now::Refused { kind: TOOL, rule: Some(permit.rule().clone()) }),
            },
            // What was refused for its body may well be again.
            (Some(_), _) if matches!(&self.before, Before::Refused { kind, .. } if kind == TOOL) => {
                Judgeable::Not("refused for what was in the body, which no log has")
            }
            (Some(_), _) => Judgeable::Head(now),
        }
    }

    /// The MCP tools that were called; `None` where the log says nothing of them, or names something else.
    fn tools(&self) -> Option<Vec<&str>> {
        let tools: Vec<&str> = self.tool.as_deref()?.split(", ").collect();
        (!tools.iter().any(|tool| tool.contains(' '))).then_some(tools)
    }

    fn judged_as_connection(&self, destination: &Destination, policy: &Policy) -> Judgeable {
        let permit = match policy.connect(destination) {
            Ok(permit) => permit,
            Err(denial) => {
                let now = Now::Refused { kind: denial.kind().as_str(), rule: denial.rule().cloned() };
                return Judgeable::Whole(now);
            }
        };
        match (permit.tunnel(), &self.before) {
            (Some(tunnel), _) => {
                Judgeable::Whole(Now::Allowed { rule: tunnel.rule().clone(), credential: None, unread: true })
            }
            (None, Before::Allowed { .. }) => {
                Judgeable::Not("which passed unread, and of which each request would be judged now")
            }
            (None, Before::Refused { .. }) => Judgeable::Not("refused before there was a request"),
        }
    }
}
