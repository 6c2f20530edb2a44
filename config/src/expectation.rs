//! What whoever wrote a policy expects of it: `[[expect]]` in the agent's file.
//!
//! Enters: what the file reader has checked, and the policy of the same file. Leaves: for an expectation that is not met, what was expected,
//! what is decided instead and by which rule, and what to change. Never: a part in the decision.

use std::fmt;

use crate::agent::CredentialName;
use crate::asked::{Asked, Permit};
use crate::denial::{Denial, DenialKind};
use crate::error::Mistake;
use crate::policy::Policy;
use crate::protocol::Protocol;
use crate::rule::RuleId;

/// What a refusal of a tool is called.
pub(crate) const TOOL_NOT_ALLOWED: &str = "tool-not-allowed";

/// One `[[expect]]`.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub(crate) number: usize,
    /// Line and column.
    pub(crate) at: (usize, usize),
    pub(crate) call: Asked,
    /// The MCP tool that its body asks for.
    pub(crate) tool: Option<String>,
    pub(crate) expected: Expected,
}

/// What is expected of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// That it passes; and where it is said, with which credential, or with none.
    Allow(Option<Option<CredentialName>>),
    /// That it is refused; and where it is said, why.
    Refuse(Option<&'static str>),
}

/// An expectation that its policy does not meet.
#[derive(Clone, Debug)]
pub struct Unmet {
    /// The call, in its normal form.
    pub call: String,
    /// What is expected: `allow` or `refuse`.
    pub expected: &'static str,
    /// What is decided: `allow` or `refuse`.
    pub decided: &'static str,
    /// Why it is refused, where it is.
    pub kind: Option<&'static str>,
    /// The rule that decides, or came nearest.
    pub rule: Option<RuleId>,
    /// Where it stands, what is decided instead, and what to change.
    pub mistake: Mistake,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mistake.fmt(f)
    }
}

/// What a policy decides of the call.
enum Decided {
    Allow(Permit),
    Deny(Denial),
    /// A tool that the rule does not list.
    Tool(RuleId),
    /// The rule looks into bodies for something else.
    OtherBody(RuleId, &'static str),
}

impl Expectation {
    /// What is wrong with the policy, or with the expectation; `None` where both agree.
    pub fn unmet_by(&self, policy: &Policy) -> Option<Unmet> {
        let decided = self.judged(policy);
        let (differs, remedy) = self.differs(&decided)?;
        let expected = match &self.expected {
            Expected::Allow(_) => "allow",
            Expected::Refuse(_) => "refuse",
        };
        let call = match &self.tool {
            Some(tool) => format!("{} (tool `{tool}`)", self.call),
            None => self.call.to_string(),
        };
        let mistake = Mistake {
            file: policy.file.clone(),
            line: self.at.0,
            column: self.at.1,
            key: format!("expect[{}]", self.number),
            reason: format!("{call}: {differs}"),
            remedy,
        };
        let rule = decided.rule().cloned();
        Some(Unmet { call, expected, decided: decided.word(), kind: decided.kind(), rule, mistake })
    }

    fn judged(&self, policy: &Policy) -> Decided {
        let permit = match self.call.judged(policy) {
            Ok(permit) => permit,
            Err(denial) => return Decided::Deny(denial),
        };
        match (&self.tool, permit.protocol()) {
            (Some(tool), Some(Protocol::Mcp(mcp))) if !mcp.has_tool(tool) => Decided::Tool(permit.rule().clone()),
            (Some(_), Some(other @ Protocol::GraphQl(_))) => Decided::OtherBody(permit.rule().clone(), other.as_str()),
            _ => Decided::Allow(permit),
        }
    }

    /// What is decided instead of what is expected, and what to change.
    fn differs(&self, decided: &Decided) -> Option<(String, String)> {
        match (&self.expected, decided) {
            (Expected::Allow(None), Decided::Allow(_)) => None,
            (Expected::Allow(Some(expected)), Decided::Allow(permit)) => credential(expected.as_ref(), permit),
            (Expected::Allow(_), refused) => {
                Some((format!("expected to be allowed, and {}", refused.said()), refused.mended()))
            }
            (Expected::Refuse(_), Decided::Allow(permit)) => {
                let said = format!("expected to be refused, and {}", decided.said());
                let narrower = if self.tool.is_some() { "`mcp`" } else { "`methods` or `paths`" };
                let remedy = format!(
                    "narrow {} with {narrower}, or put a `[[deny]]` for it; if it is to pass, write `result = \"allow\"`",
                    permit.rule()
                );
                Some((said, remedy))
            }
            (Expected::Refuse(None), _) => None,
            (Expected::Refuse(Some(expected)), refused) if refused.kind() == Some(expected) => None,
            (Expected::Refuse(Some(expected)), refused) => {
                let said = format!("expected to be refused as `{expected}`, and {}", refused.said());
                let kind = refused.kind().unwrap_or_default();
                Some((said, format!("write `kind = \"{kind}\"` if that will do, or change the rules")))
            }
        }
    }
}

/// The credential that goes with an allowed call is another one than is expected.
fn credential(expected: Option<&CredentialName>, permit: &Permit) -> Option<(String, String)> {
    let (found, rule) = (permit.credential(), permit.rule());
    if found == expected {
        return None;
    }
    let told =
        |name: Option<&CredentialName>| name.map_or("no credential".to_owned(), |name| format!("credential `{name}`"));
    let said = format!("expected to be allowed with {}, and allowed by {rule} with {}", told(expected), told(found));
    let remedy = match expected {
        Some(name) => format!("write `credential = \"{name}\"` in {rule}, or mend the expectation"),
        None => format!("take `credential` out of {rule}, or mend the expectation"),
    };
    Some((said, remedy))
}

impl Decided {
    fn word(&self) -> &'static str {
        if matches!(self, Self::Allow(_)) { "allow" } else { "refuse" }
    }

    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Allow(_) => None,
            Self::Deny(denial) => Some(denial.kind().as_str()),
            Self::Tool(_) => Some(TOOL_NOT_ALLOWED),
            Self::OtherBody(..) => Some("body-not-judged"),
        }
    }

    fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::Allow(permit) => Some(permit.rule()),
            Self::Deny(denial) => denial.rule(),
            Self::Tool(rule) | Self::OtherBody(rule, _) => Some(rule),
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Allow(permit) => format!("allowed by {}", permit.rule()),
            Self::Deny(denial) => format!("refused ({}): {}", denial.kind().as_str(), denial.reason()),
            Self::Tool(rule) => format!("refused ({TOOL_NOT_ALLOWED}): {rule} does not list this tool"),
            Self::OtherBody(rule, protocol) => {
                format!("refused: {rule} looks into bodies for `{protocol}`, not for tools")
            }
        }
    }

    /// What would have it pass.
    fn mended(&self) -> String {
        const OR: &str = "if it is to be refused, write `result = \"refuse\"`";
        match self {
            Self::Deny(denial) => match (denial.kind(), denial.lines_to_add()) {
                (DenialKind::DeniedByRule, _) => match denial.rule() {
                    Some(rule) => format!("narrow or remove {rule}; {OR}"),
                    None => OR.to_owned(),
                },
                (_, Some(lines)) => format!("{OR}; if it is to pass, add this to the file:\n\n{lines}"),
                (_, None) => OR.to_owned(),
            },
            Self::Tool(rule) => format!("list the tool in {rule}: `mcp = {{ tools = [\"…\"] }}`; {OR}"),
            Self::OtherBody(rule, _) => format!("take `tool` out, or give {rule} `mcp`; {OR}"),
            Self::Allow(_) => OR.to_owned(),
        }
    }
}
