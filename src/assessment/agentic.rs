//! OWASP Top 10 for Agentic Applications, 2026: what of each a network identity proxy can hold, and what is looked at for it.
//!
//! Enters: facts. Leaves: ten assessed controls; what happens in a model, its memory or its instructions is not exeat's to see, and is told
//! so. Never: a sentence of the list's own; numbers and names are its.

use super::control::{Assessed, List};
use super::measure::{Measured, open};

/// All ten.
pub(super) fn assess(m: &Measured<'_>) -> Vec<Assessed> {
    let of = |id, name, asks, looks| Assessed::new(List::OwaspAgentic2026, id, name, asks, looks);
    vec![
        of(
            "ASI01",
            "Agent Goal Hijack",
            "An agent that was turned to another goal reaches no further than its policy.",
            vec![
                m.enforced(),
                m.closed_list(),
                m.tried(&["names", "network", "dns"], "destinations that the policy does not list"),
                open("instructions and goals are not looked at: what a hijacked agent does within its policy passes"),
            ],
        ),
        of(
            "ASI02",
            "Tool Misuse and Exploitation",
            "Tools can be asked for what the rules list, and no faster than they say.",
            vec![m.tools_listed(), m.narrowed(), m.rates(), m.enforced()],
        ),
        of(
            "ASI03",
            "Identity and Privilege Abuse",
            "Each run has an identity of its own, and what it is lent is narrow, short-lived and taken back.",
            vec![m.identified(), m.taken_back(), m.short_lived(), m.narrowed(), m.none_shared()],
        ),
        of(
            "ASI04",
            "Agentic Supply Chain Vulnerabilities",
            "Code and tools come from where the policy says, and what comes is held like anything else.",
            vec![
                m.closed_list(),
                m.walled_in(),
                open("what is fetched is not examined: pin and verify packages, models and tool servers"),
            ],
        ),
        of(
            "ASI05",
            "Unexpected Code Execution",
            "Whatever code runs is walled in, and the walls were tried.",
            vec![
                m.walled_in(),
                m.locked_in(),
                m.limited(),
                m.tried(&["isolation", "kernel", "network"], "the sandbox, the kernel and the network"),
            ],
        ),
        of(
            "ASI06",
            "Memory and Context Poisoning",
            "What an agent remembers and reads is what it should be.",
            vec![open("memory and context are not exeat's to see: cover this where the agent is built")],
        ),
        of(
            "ASI07",
            "Insecure Inter-Agent Communication",
            "What agents say to others goes where the policy says, over verified channels, by tools that are listed.",
            vec![
                m.over_tls(),
                m.tools_listed(),
                open("what other agents say is not verified: sign messages between agents where they are built"),
            ],
        ),
        of(
            "ASI08",
            "Cascading Failures",
            "What one run can use up, ask for and leave behind is bounded.",
            vec![m.limited(), m.rates(), m.taken_back()],
        ),
        of(
            "ASI09",
            "Human-Agent Trust Exploitation",
            "What matters needs a person, whose decision is on record.",
            vec![
                m.permission(),
                open(
                    "what an agent tells the people who decide is not looked at: give them the record of the call itself",
                ),
            ],
        ),
        of(
            "ASI10",
            "Rogue Agents",
            "What an agent does is on record as it happened, what is out of line is seen, and it can be ended.",
            [
                m.log_verified(),
                m.enforced(),
                m.no_alerts(),
                open("what is out of line and within the policy is not told apart: have a person, or a program, review the calls"),
            ]
            .into_iter()
            .chain(m.offboarded())
            .collect(),
        ),
    ]
}
