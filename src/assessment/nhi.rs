//! OWASP Non-Human Identities Top 10, 2025: what each asks of exeat, and what is looked at for it.
//!
//! Enters: facts. Leaves: ten assessed controls. Never: a sentence of the list's own; numbers and names are its.

use super::control::{Assessed, List};
use super::measure::{Measured, open};

/// All ten.
pub(super) fn assess(m: &Measured<'_>) -> Vec<Assessed> {
    let of = |id, name, asks, looks| Assessed::new(List::OwaspNhi2025, id, name, asks, looks);
    vec![
        of(
            "NHI1:2025",
            "Improper Offboarding",
            "What an agent no longer needs ends, and what it was lent is taken back at whoever issued it.",
            [m.taken_back(), m.not_found("NHI1")].into_iter().chain(m.offboarded()).collect(),
        ),
        of(
            "NHI2:2025",
            "Secret Leakage",
            "No secret is where the agent, its files or its logs could give it away.",
            vec![
                m.locked_in(),
                m.tried(&["placeholders", "isolation"], "getting at credentials or out of the sandbox"),
                m.no_alerts(),
                open("secrets in repositories, images and build systems are not looked for: scan these"),
            ],
        ),
        of(
            "NHI3:2025",
            "Vulnerable Third-Party NHI",
            "What a third party could do with what it is shown, or make of the agent, is narrow.",
            vec![
                m.closed_list(),
                m.narrowed(),
                m.short_lived(),
                open("the third parties themselves are not looked at: assess those that the policy lists"),
            ],
        ),
        of(
            "NHI4:2025",
            "Insecure Authentication",
            "Calls are authenticated by what is short-lived and bound to who calls, over a channel that is verified.",
            vec![m.over_tls(), m.none_fixed(), m.identified()],
        ),
        of(
            "NHI5:2025",
            "Overprivileged NHI",
            "Rules and credentials let through what the task needs and no more.",
            vec![m.not_found("NHI5"), m.narrowed(), m.closed_list(), m.enforced()],
        ),
        of(
            "NHI6:2025",
            "Insecure Cloud Deployment Configurations",
            "Clouds are called by an identity that is signed for the moment, not by keys that lie in a deployment.",
            vec![
                m.federated(),
                m.tried(&["names"], "names and addresses that are nobody's business, metadata services among them"),
                open("trust policies at the cloud, and pipelines, are not looked at: review there whom they trust"),
            ],
        ),
        of(
            "NHI7:2025",
            "Long-Lived Secrets",
            "Nothing that the agent can use lives much longer than it is needed.",
            vec![m.not_found("NHI7"), m.none_fixed(), m.short_lived()],
        ),
        of(
            "NHI8:2025",
            "Environment Isolation",
            "What runs for one purpose cannot reach what is there for another.",
            vec![
                m.walled_in(),
                m.tried(&["network", "isolation", "kernel"], "the network, the sandbox and the kernel"),
                m.none_shared(),
                open(
                    "whether development, test and production have agents and credentials of their own is not told by exeat's files",
                ),
            ],
        ),
        of(
            "NHI9:2025",
            "NHI Reuse",
            "Each agent has an identity and credentials that are nobody else's.",
            vec![m.not_found("NHI9"), m.none_shared(), m.identified()],
        ),
        of(
            "NHI10:2025",
            "Human Use of NHI",
            "What is the agent's is used by the agent, and whoever decides for it is on record.",
            vec![
                m.none_fixed(),
                m.identified(),
                m.log_verified(),
                open(
                    "whether a person uses the same identity elsewhere is seen at its issuer, not here: look at its sign-ins",
                ),
            ],
        ),
    ]
}
