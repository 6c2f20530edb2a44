//! The policy in force, asked twice: for the connection and for each call on it.
//!
//! Enters: where a connection goes and what it said of itself; then each call. Leaves: a permit, or the refusal that the client
//! will read. Never: a decision remembered from an earlier policy, or one that a witness disagrees with.

use std::sync::Arc;

use config::{CallFacts, CallPermit, CredentialName, Denial, Host, Policy, Protocol, Scheme};

use crate::connection::Accepted;
use crate::error::{Refusal, printable};
use crate::hello::Hello;
use crate::request::{Beside, Call, FormWatch};
use crate::serve::Worker;
use crate::swap::{Swap, Why};
use crate::tool::Objection;
use crate::upstream::Offer;

/// Whether what a connection says of itself fits where it goes. The result stands for the whole life of the connection; the
/// policy is asked anew for each call.
///
/// # Errors
/// [`Refusal::UnknownAddress`], [`Refusal::NoServerName`], [`Refusal::Witness`].
pub fn connection(accepted: &Accepted, hello: &Hello) -> Result<(), Refusal> {
    if let (Host::Address(address), true) = (accepted.destination.host(), accepted.unknown) {
        return Err(Refusal::UnknownAddress(*address));
    }
    let Hello::Tls { server_name, .. } = hello else { return Ok(()) };
    match (accepted.destination.host(), server_name) {
        (Host::Name(name), Some(claimed)) if name == claimed => Ok(()),
        (Host::Name(_), None) => Err(Refusal::NoServerName(accepted.destination.clone())),
        (Host::Address(_), None) => Ok(()),
        (_, Some(claimed)) => Err(Refusal::Witness {
            connection: accepted.destination.clone(),
            witness: "server name",
            claimed: printable(claimed.as_str().as_bytes()),
        }),
    }
}

/// Whether a connection that would pass unread goes to the server that it names in the clear. A real encrypted ClientHello cannot
/// be told from one that is sent for show (RFC 9849), and the name server gives out no keys for one.
///
/// # Errors
/// [`Refusal::EncryptedHello`].
pub fn unread(accepted: &Accepted, hello: &Hello) -> Result<(), Refusal> {
    match hello {
        Hello::Tls { ech: true, .. } => Err(Refusal::EncryptedHello(accepted.destination.clone())),
        _ => Ok(()),
    }
}

/// The policy's leave for one call. Where there is none, a placeholder that the call would have carried where its credential
/// does not go matters more than the missing rule, and is what the refusal says.
///
/// # Errors
/// [`Refusal::Denied`], [`Refusal::Misdirected`]; [`Refusal::Malformed`] where a field may have the server do something else than what was
/// judged, and that could be judged otherwise.
pub fn call(policy: &Policy, call: &Call, swap: &Swap) -> Result<CallPermit, Refusal> {
    let permit = judge(policy, &call.facts()).map_err(|denial| match swap.plan(&call.head(None)) {
        Err(misdirected) if misdirected.why == Why::Destination => misdirected.into(),
        _ => Refusal::Denied(denial),
    })?;
    if policy.tells_calls_apart(&permit) {
        and_nothing_else(policy, &call.beside, &permit)?;
    }
    Ok(permit)
}

/// Whether a call that was permitted comes to no other that is not, by what stands in its head.
fn and_nothing_else(policy: &Policy, beside: &Beside, permit: &CallPermit) -> Result<(), Refusal> {
    for other in beside.calls()? {
        let refused = |why: &dyn std::fmt::Display| {
            Refusal::Malformed(format!("`{}` has the server act on another resource as well: {why}", other.field))
        };
        let also = judge(policy, &other.facts()).map_err(|denial| refused(&denial))?;
        if also.credential() != permit.credential() {
            return Err(refused(&"the rule for that one names another credential, or none"));
        }
    }
    Ok(())
}

/// What is looked for in the body of a call that was permitted: a form that is posted may have it come to another.
pub(crate) fn form(policy: &Policy, permit: &CallPermit, call: &Call) -> Option<Box<FormWatch>> {
    let looked_for = may_be_another(call) && policy.tells_calls_apart(permit);
    looked_for.then(|| FormWatch::of(&call.headers)).flatten().map(Box::new)
}

/// Frameworks take another method from the body of a POST alone.
fn may_be_another(call: &Call) -> bool {
    call.method.as_str().eq_ignore_ascii_case("POST")
}

/// Adds the credential that the rule names to a call that brings none, where its grant says so. The answer is whether it did.
///
/// # Errors
/// [`Refusal::CallsAsItself`].
pub fn inject(call: &mut Call, permit: &CallPermit, swap: &Swap) -> Result<bool, Refusal> {
    let field = swap.inject(&call.head(permit.credential()))?;
    let injected = field.is_some();
    call.headers.extend(field);
    Ok(injected)
}

/// What a later policy is asked while `call` is under way: the same, whether the rule still grants the credential that it
/// `carries`, whether it still says of bodies what it said when this one was `judged`, and, where it tells calls apart now, what the call comes
/// to beside itself, and whether nobody has `looked` into a form for that. Its permit is for [`by_the_same_way`].
pub fn again(
    call: &Call,
    carries: Option<CredentialName>,
    (judged, looked): (Option<Protocol>, bool),
) -> impl Fn(&Policy) -> Result<CallPermit, Refusal> + Send + Sync + 'static {
    let (destination, scheme) = (call.destination.clone(), call.scheme);
    let (method, path, beside) = (call.method.clone(), call.path.clone(), call.beside.clone());
    let looked = looked || !may_be_another(call) || FormWatch::of(&call.headers).is_none();
    move |policy| {
        let facts = CallFacts { destination: &destination, scheme, method: &method, path: &path };
        let permit = judge(policy, &facts).map_err(Refusal::Denied)?;
        if let Some(protocol) = permit.protocol().filter(|protocol| judged.as_ref() != Some(protocol)) {
            return Err(Refusal::Tool(Box::new(Objection::changed(permit.rule(), protocol))));
        }
        let apart = policy.tells_calls_apart(&permit);
        if apart {
            and_nothing_else(policy, &beside, &permit)?;
        }
        if apart && !looked {
            let why = "a policy came by which a form may be another call, and nobody looked for that; send it again";
            return Err(Refusal::UnexaminedBody(why.to_owned()));
        }
        match &carries {
            Some(credential) if permit.credential() != Some(credential) => Err(Refusal::Revoked(credential.clone())),
            _ => Ok(permit),
        }
    }
}

/// The same of a call that went out by `permit`: the address, the proxy and the certificate that it stands on are still the rule's.
pub fn by_the_same_way(
    again: impl Fn(&Policy) -> Result<CallPermit, Refusal> + Send + Sync + 'static,
    permit: &Arc<CallPermit>,
) -> impl Fn(&Policy) -> Result<(), Refusal> + Send + Sync + 'static {
    let permit = Arc::clone(permit);
    move |policy| {
        let same = again(policy)?.route().covers(permit.route());
        if same { Ok(()) } else { Err(Refusal::OtherWay(permit.destination().clone())) }
    }
}

/// What the policy of now says of a call for which somebody was waited for, where that is another than it was judged by: it goes by today's
/// way out, or not at all.
///
/// # Errors
/// As [`again`] and [`call`].
pub fn anew(
    worker: &Worker,
    asked: &Call,
    (policy, permit): (Arc<Policy>, CallPermit),
    again: impl Fn(&Policy) -> Result<CallPermit, Refusal>,
) -> Result<(Arc<Policy>, CallPermit), Refusal> {
    let now = worker.policy.current();
    if Arc::ptr_eq(&now, &policy) {
        return Ok((policy, permit));
    }
    drop(again(&now)?);
    let permit = call(&now, asked, &worker.swap)?;
    Ok((now, permit))
}

fn judge(policy: &Policy, facts: &CallFacts<'_>) -> Result<CallPermit, Denial> {
    let connect = policy.connect(facts.destination).map_err(|denial| denial.of(facts))?;
    policy.call(&CallFacts { destination: connect.destination(), ..*facts })
}

/// The scheme that a connection's first bytes stand for.
pub(crate) fn scheme(hello: &Hello) -> Scheme {
    match hello {
        Hello::Tls { .. } => Scheme::Https,
        Hello::Http1 | Hello::Http2Preface => Scheme::Http,
    }
}

/// What the client offered, for its upstreams to be offered no less.
pub(crate) fn offer(hello: &Hello) -> Offer {
    match *hello {
        Hello::Tls { tls12, hybrid, .. } => Offer { tls12, hybrid },
        Hello::Http1 | Hello::Http2Preface => Offer { tls12: true, hybrid: false },
    }
}
