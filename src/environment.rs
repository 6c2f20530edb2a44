//! The environment of the command, built from scratch, and the files of its home.
//!
//! Enters: the policy's pass list, the placeholders, the trust variables. Leaves: every variable that the command will see, and
//! every file that its home begins with. Never: a variable that nobody listed; one of the caller's may hold a secret.

use std::ffi::OsString;

use config::{Grant, NoRandomBytes, Placeholder};
use sandbox::HomeFile;

/// What a terminal program needs to look right. Everything else has to be listed under `pass_env`.
const PASSED: [&str; 7] = ["PATH", "TERM", "COLORTERM", "NO_COLOR", "LANG", "TZ", "LANGUAGE"];
/// Locale settings come as a family.
const PASSED_FAMILY: &str = "LC_";
/// Files with placeholders are for their user, as clients demand of files with credentials.
const FILE_MODE: u32 = 0o600;
/// Where the system's tools are, should the caller have no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables of the command. Later ones win: nothing that is passed through can replace a placeholder or a trust variable.
pub fn build(
    agent: &str,
    pass: &[String],
    grants: &[(Grant, Placeholder)],
    trust: &[(&'static str, &'static str)],
) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = vec![("PATH".into(), PATH.into())];
    variables.extend(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        PASSED.contains(&name.as_ref()) || name.starts_with(PASSED_FAMILY) || pass.iter().any(|passed| *passed == name)
    }));
    let home = sandbox::HOME;
    for (name, value) in
        [("HOME", home), ("USER", "agent"), ("LOGNAME", "agent"), ("SHELL", "/bin/sh"), ("TMPDIR", "/tmp")]
    {
        variables.push((name.into(), value.into()));
    }
    variables.push(("EXEAT_AGENT".into(), agent.into()));
    variables.extend(trust.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    for (grant, placeholder) in grants {
        if let Some(name) = grant.env() {
            variables.push((name.into(), placeholder.value().into()));
        }
    }
    let mut last: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in variables {
        last.retain(|(other, _)| *other != name);
        last.push((name, value));
    }
    last
}

/// The files in the command's home that have placeholders.
///
/// # Errors
/// When there are no random bytes for a throwaway key.
pub fn home_files(grants: &[(Grant, Placeholder)]) -> Result<Vec<HomeFile>, NoRandomBytes> {
    let file =
        |file: config::HomeFile| HomeFile { path: file.path.into(), bytes: file.text.into_bytes(), mode: FILE_MODE };
    Ok(config::home_files(grants, sandbox::BUNDLE)?.into_iter().map(file).collect())
}
