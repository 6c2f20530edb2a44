//! What the script tries, and what is to become of each attempt.
//!
//! Enters: attempts as they end. Leaves: each narrated and judged. Never: a step that passes because it was not tried.

use super::attempt::{Attempt, Script};
use super::narrator::Narrator;
use crate::report::Report;

/// One step of the script.
#[derive(Debug)]
struct Step {
    /// The attempt's name in the script.
    name: &'static str,
    title: &'static str,
    expected: Expected,
    arrival: Option<Arrival>,
}

/// What shall become of an attempt.
#[derive(Debug)]
enum Expected {
    /// It prints a placeholder of the shape in credentials.toml.
    Placeholder,
    /// An answer of the API with this status, and this in its body.
    Answer(u16, &'static str),
    /// An answer that gives back, in head and body, exactly what the script itself sent.
    Echo,
    /// A readable answer of exeat, 403, with this last part of its problem type.
    Refused(&'static str),
    /// The same, from an address that stands for the name in here and nowhere else.
    RefusedName(&'static str),
    /// curl gets no answer at all.
    Nothing,
}

/// What the API shall see of an attempt.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Method, host and path.
    pub(super) call: &'static str,
    /// Whether with a live access token.
    pub(super) live: bool,
}

/// Reads like a sentence in [`STEPS`].
const fn step(name: &'static str, title: &'static str, expected: Expected) -> Step {
    Step { name, title, expected, arrival: None }
}

impl Step {
    const fn arriving(mut self, call: &'static str, live: bool) -> Self {
        self.arrival = Some(Arrival { call, live });
        self
    }
}

/// In the order of the script.
const STEPS: [Step; 14] = [
    step("placeholder", "In the environment is a placeholder, not the credential", Expected::Placeholder),
    step("bare", "The API wants a credential: without one it says 401", Expected::Answer(401, "no live access token"))
        .arriving("GET api.example.com/v1/builds", false),
    step(
        "allowed",
        "An allowed call: on its way out, the placeholder becomes the credential",
        Expected::Answer(200, "passed"),
    )
    .arriving("GET api.example.com/v1/builds", true),
    step("echo", "An API that echoes the credential: on its way back, it becomes the placeholder", Expected::Echo)
        .arriving("GET api.example.com/v1/echo", true),
    step("host", "A host that no rule lists", Expected::Refused("host-not-listed")),
    step("method", "A method that the rule does not list", Expected::Refused("method-not-allowed")),
    step("path", "A path that a deny rule has", Expected::Refused("denied-by-rule")),
    step("disguise", "The same path in disguise: it is judged as what it means", Expected::Refused("denied-by-rule")),
    step(
        "other",
        "Another host, which is allowed, without a credential",
        Expected::Answer(200, "anyone may read this"),
    )
    .arriving("GET files.example.com/notice.txt", false),
    step("misdirected", "The placeholder sent to that host", Expected::Refused("placeholder-misdirected")),
    step("address", "An IP address instead of a name", Expected::Refused("address-not-listed")),
    step("loopback", "The API by its real address: the sandbox's loopback is another one", Expected::Nothing),
    step("datagram", "A UDP packet to this machine", Expected::Nothing),
    step(
        "tunnel",
        "A DNS tunnel: a secret in a name, which is answered inside",
        Expected::RefusedName("host-not-listed"),
    ),
];

/// What shall reach the API, in order.
pub(super) fn arrivals() -> impl Iterator<Item = &'static Arrival> {
    STEPS.iter().filter_map(|step| step.arrival.as_ref())
}

/// The kinds of refusal that shall be in the log, in order.
pub(super) fn refusals() -> impl Iterator<Item = &'static str> {
    STEPS.iter().filter_map(|step| match step.expected {
        Expected::Refused(kind) | Expected::RefusedName(kind) => Some(kind),
        _ => None,
    })
}

/// What is known when the script has ended.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What the script found in its environment.
    pub(super) placeholder: String,
    /// Everything that it printed.
    pub(super) output: String,
}

/// Narrates and judges every step as the script goes.
pub(super) fn narrate(narrator: &mut Narrator, mut script: Script) -> Result<Tried, Report> {
    let mut tried = Tried::default();
    let mut reached = 0;
    for step in &STEPS {
        let Some(attempt) = script.next()? else { break };
        reached += 1;
        narrator.step(step.title)?;
        narrator.command(&attempt.command)?;
        if attempt.name == "placeholder" {
            tried.placeholder = attempt.output.first().cloned().unwrap_or_default();
        }
        for line in step.expected.shown(&attempt) {
            narrator.output(&line)?;
        }
        let behaved = attempt.name == step.name && step.expected.is_met(&attempt, &tried.placeholder);
        narrator.verdict(behaved, &step.expected.to_string())?;
        if !behaved {
            narrator.output(&seen(&attempt))?;
        }
    }
    tried.output = std::mem::take(&mut script.printed);
    let (ended_well, said) = script.end()?;
    if reached == 0 {
        let told = Report::new(format!("the script has not begun; `exeat run` said:\n{}", said.trim_end()));
        return Err(told.hint("`exeat check` says what this machine lacks"));
    }
    for step in &STEPS[reached..] {
        narrator.step(step.title)?;
        narrator.verdict(false, "the script gets this far")?;
    }
    if !ended_well {
        narrator.verdict(false, "`exeat run` ends with code 0")?;
    }
    for line in said.lines() {
        narrator.output(&format!("exeat run said: {line}"))?;
    }
    Ok(tried)
}

impl Expected {
    fn is_met(&self, attempt: &Attempt, placeholder: &str) -> bool {
        let status = attempt.status().map(|(status, _)| status);
        let whole = attempt.output.join("\n");
        match self {
            Self::Placeholder => {
                let random = placeholder.strip_prefix("demo_").unwrap_or_default();
                random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()) && whole == placeholder
            }
            Self::Answer(expected, text) => status == Some(*expected) && whole.contains(text),
            Self::Echo => {
                let head = format!("x-you-sent: Bearer {placeholder}");
                let body = format!("{{\"you_sent\":\"Bearer {placeholder}\"}}");
                let has = |line: &str| attempt.output.iter().any(|printed| printed == line);
                status == Some(200) && has(&head) && has(&body)
            }
            Self::Refused(kind) => status == Some(403) && field(attempt, "type") == format!("urn:exeat:refusal:{kind}"),
            Self::RefusedName(kind) => {
                let inside = attempt.status().is_some_and(|(_, address)| address.starts_with("198.18."));
                inside && Self::Refused(kind).is_met(attempt, placeholder)
            }
            Self::Nothing => {
                let said = whole.contains("curl: (") || whole.contains("Connection refused");
                status.is_none() && attempt.exit != "0" && said
            }
        }
    }

    /// The one or two lines of an attempt that a reader wants.
    fn shown(&self, attempt: &Attempt) -> Vec<String> {
        let status = attempt.status().map_or("no answer".to_owned(), |(status, address)| match self {
            Self::RefusedName(_) => format!("HTTP {status} from {address}"),
            _ => format!("HTTP {status}"),
        });
        let detail = field(attempt, "detail");
        match self {
            Self::Placeholder => attempt.output.clone(),
            _ if !detail.is_empty() => vec![status, detail],
            Self::Echo => {
                let echoed =
                    attempt.output.iter().filter(|line| line.contains("you-sent:") || line.contains("you_sent"));
                std::iter::once(status).chain(echoed.cloned()).collect()
            }
            _ => {
                let body = attempt.output.iter().filter(|line| !line.starts_with("HTTP ")).take(2);
                std::iter::once(status).chain(body.cloned()).collect()
            }
        }
    }
}

/// What the verdict says.
impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Placeholder => write!(f, "a random placeholder in the shape that the credential has"),
            Self::Answer(status, _) => write!(f, "{status} from the API"),
            Self::Echo => write!(f, "only the placeholder comes back, in the head and in the body"),
            Self::Refused(kind) => write!(f, "refused: {kind}"),
            Self::RefusedName(kind) => write!(f, "refused: {kind}; the name has only an address of the sandbox's own"),
            Self::Nothing => write!(f, "nobody there"),
        }
    }
}

/// All of an attempt on one line, for whoever looks for the cause.
fn seen(attempt: &Attempt) -> String {
    const LONGEST: usize = 400;
    let output: Vec<&str> = attempt.output.iter().flat_map(|line| line.split_whitespace()).collect();
    format!("seen: exit code {}, {}", attempt.exit, output.join(" ")).chars().take(LONGEST).collect()
}

/// A field of a problem document (RFC 9457).
fn field(attempt: &Attempt, name: &str) -> String {
    let problem = attempt.json().unwrap_or_default();
    problem.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACEHOLDER: &str = "demo_0123456789abcdefghijABCDEFGHIJ01";

    fn attempt(exit: &str, output: &[&str]) -> Attempt {
        let output = output.iter().map(ToString::to_string).collect();
        Attempt { exit: exit.to_owned(), output, ..Attempt::default() }
    }

    fn is_met(expected: &Expected, exit: &str, output: &[&str]) -> bool {
        expected.is_met(&attempt(exit, output), PLACEHOLDER)
    }

    #[test]
    fn a_refusal_is_met_by_its_own_kind_only() {
        let refused = Expected::Refused("host-not-listed");
        let problem = |kind: &str| format!("{{\"type\": \"urn:exeat:refusal:{kind}\"}}");
        assert!(is_met(&refused, "0", &[&problem("host-not-listed"), "HTTP 403 198.18.0.1"]));
        assert!(!is_met(&refused, "0", &[&problem("denied-by-rule"), "HTTP 403 198.18.0.1"]));
        assert!(!is_met(&refused, "0", &["{}", "HTTP 200 198.18.0.1"]));
        assert!(!is_met(&refused, "6", &["curl: (6) Could not resolve host", "HTTP 000 "]));
        let name = Expected::RefusedName("host-not-listed");
        assert!(!is_met(&name, "0", &[&problem("host-not-listed"), "HTTP 403 192.0.2.9"]));
    }

    #[test]
    fn an_echo_of_the_credential_is_caught_wherever_it_is() {
        let (head, body) =
            (format!("x-you-sent: Bearer {PLACEHOLDER}"), format!("{{\"you_sent\":\"Bearer {PLACEHOLDER}\"}}"));
        assert!(is_met(&Expected::Echo, "0", &[&head, &body, "HTTP 200 198.18.0.1"]));
        assert!(!is_met(&Expected::Echo, "0", &["x-you-sent: Bearer live_1", &body, "HTTP 200 198.18.0.1"]));
        assert!(!is_met(&Expected::Echo, "0", &[&head, "{\"you_sent\":\"Bearer live_1\"}", "HTTP 200 198.18.0.1"]));
    }

    #[test]
    fn nothing_is_what_curl_says_of_silence_and_not_a_missing_curl() {
        assert!(is_met(&Expected::Nothing, "7", &["curl: (7) Failed to connect", "HTTP 000 "]));
        assert!(!is_met(&Expected::Nothing, "127", &["sh: curl: not found"]));
        assert!(!is_met(&Expected::Nothing, "0", &["{}", "HTTP 200 127.0.0.1"]));
    }

    #[test]
    fn every_try_of_the_script_has_its_step() {
        let script = include_str!("script.sh");
        let names = script.lines().filter_map(|line| line.strip_prefix("try ")?.split_whitespace().next());
        assert!(names.eq(STEPS.iter().map(|step| step.name)));
    }

    #[test]
    fn a_placeholder_is_random_and_alone() {
        assert!(is_met(&Expected::Placeholder, "0", &[PLACEHOLDER]));
        assert!(!is_met(&Expected::Placeholder, "0", &[PLACEHOLDER, "more"]));
        assert!(!Expected::Placeholder.is_met(&attempt("1", &[]), ""));
    }
}
