//! Which environment variables a file may name for the sandbox.
//!
//! Enters: a variable's name. Leaves: the same, checked. Never: a variable that exeat sets itself, or one that makes
//! the loader run other code.

use crate::error::{Malformed, quoted};

/// Set in every sandbox: where programs and roots of trust are found.
const RESERVED: [&str; 19] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "JAVA_TOOL_OPTIONS",
];

/// A name that a shell takes: `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn variable(text: &str) -> Result<String, Malformed> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain || text.is_empty() || text.len() > 128 || text.starts_with(|c: char| c.is_ascii_digit()) {
        let hint = "a variable's name has A-Z, a-z, 0-9 and `_`, and does not start with a digit: `GITHUB_TOKEN`";
        return Err(Malformed::new(format!("{} is not a variable's name", quoted(text)), hint));
    }
    Ok(text.to_owned())
}

/// A variable that a file may set or pass into the sandbox.
pub(crate) fn sandbox_variable(text: &str) -> Result<String, Malformed> {
    let upper = text.to_ascii_uppercase();
    if RESERVED.contains(&&*upper) || upper.starts_with("LD_") {
        let reason = format!("{} is not for a file to set in the sandbox", quoted(text));
        return Err(Malformed::new(reason, "exeat sets it itself, or the loader acts on it; choose another name"));
    }
    variable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_not_exeats_own() {
        for text in ["GITHUB_TOKEN", "_x", "a1"] {
            assert_eq!(sandbox_variable(text).unwrap(), text);
        }
        for text in ["", "1A", "A-B", "A=B", "A B", "É", "A\0", "PATH", "LD_PRELOAD", "ld_audit", "npm_config_cafile"]
        {
            assert!(sandbox_variable(text).is_err(), "{text:?} was taken");
        }
    }
}
