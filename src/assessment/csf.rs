//! NIST CSF 2.0, category PR.AA: what each subcategory asks of exeat, and what is looked at for it.
//!
//! Enters: facts. Leaves: six assessed controls. Never: a sentence of the framework's own; numbers and names of what is meant are close to
//! its.

use super::control::{Assessed, List};
use super::measure::{Measured, open};

/// All six.
pub(super) fn assess(m: &Measured<'_>) -> Vec<Assessed> {
    let of = |id, name, asks, looks| Assessed::new(List::NistCsf2PrAa, id, name, asks, looks);
    vec![
        of(
            "PR.AA-01",
            "Identities and credentials are managed",
            "Each run's identity and credentials are issued, known, and ended by the organisation.",
            [m.identified(), m.taken_back(), m.none_fixed(), m.not_found("NHI1")]
                .into_iter()
                .chain(m.offboarded())
                .collect(),
        ),
        of(
            "PR.AA-02",
            "Identities are proofed and bound to credentials",
            "A credential is lent to one worker, whose identity says whose it is.",
            vec![
                m.identified(),
                m.none_shared(),
                open(
                    "who answers for the agent, and how that was ascertained, is not told by exeat's files: keep a register",
                ),
            ],
        ),
        of(
            "PR.AA-03",
            "Users, services and hardware are authenticated",
            "Who calls is known by where it calls from, and whom it calls is verified before a credential is shown.",
            vec![
                m.identified(),
                m.over_tls(),
                m.tried(&["names", "framing"], "passing for another host"),
                open(
                    "that a certificate was verified is not in the log (exeat sends nothing where it was not); people and hardware are authenticated elsewhere",
                ),
            ],
        ),
        of(
            "PR.AA-04",
            "Identity assertions are protected, conveyed and verified",
            "What proves an identity is where the agent cannot take it, and goes only to whom it is for.",
            vec![
                m.locked_in(),
                m.tried(&["placeholders"], "sending a placeholder where it does not belong"),
                m.over_tls(),
                m.no_alerts(),
            ],
        ),
        of(
            "PR.AA-05",
            "Access permissions are defined in a policy, managed, enforced and reviewed",
            "What may be done is in a file, narrow, and what is in the file is what is in force.",
            vec![
                m.policy_in_force(),
                m.enforced(),
                m.narrowed(),
                m.not_found("NHI5"),
                m.log_verified(),
                open(
                    "that a person reviewed the policy is not recorded here: keep the file under version control, with reviews",
                ),
            ],
        ),
        of(
            "PR.AA-06",
            "Physical access is managed",
            "Nobody gets at the machines who should not.",
            vec![open("physical access is not exeat's to see")],
        ),
    ]
}
