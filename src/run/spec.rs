//! What the sandbox of an agent shall be.
//!
//! Enters: where things are, the policy, what it shows of this machine, the options of the run. Leaves: a spec; or what would keep one from being made,
//! for who only wants to know. Never: a change to anything.

use std::path::Path;

use config::Policy;
use sandbox::{CaptureChoice, Limits, Spec, Trust};

use super::named::Named;
use super::shown::Shown;
use super::{no_sandbox, observing, own};
use crate::args;
use crate::layers::Pending;
use crate::places::{self, Places};
use crate::report::Report;

/// What would keep an agent from starting where this was started, as far as files show that: what they are told of elsewhere, such as paths
/// that are not there, is left out. Nothing is made.
///
/// # Errors
/// The first that there is.
pub fn foresee(places: &Places, policy: &Policy) -> Result<(), Report> {
    let shown = Shown::expanded(policy.sandbox(), &places::here()?, |_| {})?;
    let all = || [&shown.read, &shown.write, &shown.overlay].into_iter().flatten();
    if all().any(|path| !path.exists()) {
        return Ok(());
    }
    let overlay = shown.overlay.clone();
    let mut spec = Spec { command: vec!["true".into()], ..shaped(places, policy, None, shown)? };
    // Without their layers, which are not there yet. The state directory is made before anything is planned.
    spec.read.extend(overlay);
    spec.hide.retain(|path| *path != places.state || path.exists());
    sandbox::foresee(&spec).map_err(no_sandbox)
}

/// What the sandbox of a run shall be.
///
/// # Errors
/// When a directory of exeat's own cannot be read.
pub fn of(
    places: &Places,
    policy: &Policy,
    arguments: &args::Run,
    shown: Shown,
    layers: Option<&Pending>,
) -> Result<Spec, Report> {
    Ok(Spec {
        command: arguments.command.clone(),
        overlay: layers.map(Pending::layered).unwrap_or_default(),
        ports: if arguments.observe { observing::ports(policy) } else { policy.ports() },
        capture: if arguments.capture_ports_only { CaptureChoice::Ports } else { CaptureChoice::Best },
        ..shaped(places, policy, arguments.broker.as_deref(), shown)?
    })
}

/// What of it the policy says, and where things are.
fn shaped(places: &Places, policy: &Policy, broker: Option<&Path>, shown: Shown) -> Result<Spec, Report> {
    let settings = policy.sandbox();
    let (named, here) = (Named::load(places), places::here()?);
    Ok(Spec {
        command: Vec::new(),
        read: shown.read,
        write: shown.write,
        overlay: Vec::new(),
        hide: [own::of(places, policy.agent(), broker)?, named.secrets()].concat(),
        relied_on: [policy.extra_roots(), &named.relied_on(&here)].concat(),
        conceal: shown.hide,
        home: shown.home,
        find_secrets: settings.find_secrets,
        nested: settings.nested,
        limits: Limits::from(settings),
        trust: Trust { system_bundle: proxy::upstream::system_bundle().map(Path::to_owned) },
        ports: policy.ports(),
        capture: CaptureChoice::Best,
        working_directory: here,
    })
}
