//! The keys `mcp` and `graphql` of an allow rule.
//!
//! Enters: a rule's section. Leaves: the protocol that its requests speak. Never: one that no request could speak; that is a
//! mistake of whoever wrote it.

use super::agent::LEAVE_OUT;
use super::reader::{Field, Reader, Section};
use crate::method::Method;
use crate::protocol::{GraphQl, Mcp, NameGlob, Protocol};

/// `None` where neither key is written, `Some(None)` where what is written is a mistake.
pub(super) fn read(
    reader: &mut Reader<'_>,
    rule: &mut Section<'_>,
    methods: Option<&Option<Vec<Method>>>,
) -> Option<Option<Protocol>> {
    let (mcp, graphql) = (rule.take("mcp"), rule.take("graphql"));
    let field = mcp.as_ref().or(graphql.as_ref())?;
    // A GraphQL operation can stand in a query string as well.
    let carrying: &[&str] = if mcp.is_some() { &["POST"] } else { &["POST", "GET"] };
    let carries = |methods: &Vec<Method>| methods.iter().any(|method| carrying.contains(&method.as_str()));
    if methods.is_some_and(|methods| methods.as_ref().is_some_and(|methods| !carries(methods))) {
        reader.mistake_at(
            field,
            "its calls are POST requests, which `methods` leaves out",
            "add \"POST\" to `methods`",
        );
    }
    if let (Some(_), Some(field)) = (&mcp, &graphql) {
        reader.mistake_at(field, "a request speaks one protocol, and the rule has `mcp` as well", "write two rules");
    }
    Some(match (mcp, graphql) {
        (Some(field), _) => read_mcp(reader, &field).map(Protocol::Mcp),
        (None, Some(field)) => read_graphql(reader, &field).map(Protocol::GraphQl),
        (None, None) => None,
    })
}

fn read_mcp(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Mcp> {
    let mut section = reader.section(field)?;
    let tools = read_names(reader, section.take("tools"));
    let resources = read_names(reader, section.take("resources"));
    let prompts = read_names(reader, section.take("prompts"));
    let answers = section.take("answers").and_then(|field| reader.flag(&field));
    reader.nothing_else(section);
    Some(Mcp { tools, resources, prompts, answers: answers.unwrap_or(false) })
}

fn read_names(reader: &mut Reader<'_>, field: Option<Field<'_>>) -> Vec<NameGlob> {
    field.and_then(|field| reader.some_values(&field, LEAVE_OUT, str::parse)).unwrap_or_default()
}

fn read_graphql(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<GraphQl> {
    let mut section = reader.section(field)?;
    let operations = section.take("operations");
    if operations.is_none() {
        reader.missing(&section, "operations", "operations = [\"query\"]");
    }
    let operations = operations
        .and_then(|field| reader.some_values(&field, "list what is allowed: `operations = [\"query\"]`", str::parse));
    reader.nothing_else(section);
    Some(GraphQl { operations: operations? })
}
