//! Calls whose bodies a rule looks into, and what is not listed there.
//!
//! Enters: the policy's rules. Leaves: where to send a message that has to be refused. Never: a message that a rule may let through.

use config::{Operation, Policy, Protocol, Rule, Scheme};

use super::super::brief::{Call, Listing};
use super::{call_by, is_bare, lets_out};

/// The first MCP server of which not every tool is listed.
pub(super) fn mcp(policy: &Policy, nonce: &str) -> Option<Call> {
    let tool = format!("probe_{nonce}");
    policy.rules().iter().find_map(|rule| match rule.protocol() {
        Some(Protocol::Mcp(mcp)) if !mcp.tools().iter().any(|listed| listed.matches(&tool)) => {
            posted(policy, rule, nonce)
        }
        _ => None,
    })
}

/// The first MCP server whose list may be asked for without a credential, and of which only some may be seen.
pub(super) fn listing(policy: &Policy, nonce: &str) -> Option<Listing> {
    policy.rules().iter().find_map(|rule| {
        let Some(Protocol::Mcp(mcp)) = rule.protocol() else { return None };
        let call = posted(policy, rule, nonce).filter(|call| is_bare(policy, call))?;
        let is_listed = |tool: &String| mcp.tools().iter().any(|listed| listed.matches(tool));
        let listed = mcp.tools().iter().map(|listed| listed.to_string().replace('*', "probe")).find(is_listed)?;
        let unlisted = Some(format!("probe_{nonce}")).filter(|tool| !is_listed(tool))?;
        Some(Listing { call, listed, unlisted })
    })
}

/// The first GraphQL endpoint at which not every operation is listed, and one that is not.
pub(super) fn graphql(policy: &Policy, nonce: &str) -> Option<(Call, String)> {
    policy.rules().iter().find_map(|rule| {
        let Some(Protocol::GraphQl(graphql)) = rule.protocol() else { return None };
        let operations = [Operation::Mutation, Operation::Subscription, Operation::Query];
        let unlisted = operations.into_iter().find(|operation| !graphql.operations().contains(operation))?;
        Some((posted(policy, rule, nonce)?, unlisted.to_string()))
    })
}

/// The rule's call as a POST, if the rule is the one that speaks of it: only then is the body what is judged.
fn posted(policy: &Policy, rule: &Rule, nonce: &str) -> Option<Call> {
    let call = Call { method: "POST".to_owned(), ..call_by(rule, nonce)? };
    lets_out(policy, &call, Scheme::Https).filter(|by| by == rule.id()).map(|_| call)
}
