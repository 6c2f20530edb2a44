//! OpenBao in its development mode, of the Vault API.
//!
//! Enters: configuration, as its root. Leaves: a server that is unsealed, in memory, on an address of its own. Never: a server that
//! outlives its test.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::tools::{bao_tool, free_address};
use super::within;

/// The server.
pub struct Bao {
    process: Child,
    /// Its address, as clients write it.
    pub address: String,
    _directory: tempfile::TempDir,
}

impl Bao {
    const ROOT: &str = "root-of-the-test";

    /// One with KV version 2 on `secret`, and nothing else.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = free_address();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new(bao_tool())
            .args(["server", "-dev", "-dev-no-store-token", &format!("-dev-listen-address={listen}")])
            .arg(format!("-dev-root-token-id={}", Self::ROOT))
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bao = Self { process, address: format!("http://{listen}"), _directory: directory };
        within(Duration::from_secs(60), "OpenBao", || {
            let health = format!("{}/v1/sys/health", bao.address);
            Command::new("curl").args(["-sf", "-o", "/dev/null", &health]).status().unwrap().success()
        });
        bao
    }

    /// Has it log in who shows a JWT that this configuration takes.
    pub fn trust(&self, config: &Value) {
        self.done("sys/auth/jwt", &json!({"type": "jwt"}));
        self.done("auth/jwt/config", config);
    }

    /// Sets the role `bot` of these logins, by what it has beyond what every role of a test has.
    pub fn role(&self, more: &Value) {
        let mut role = json!({"role_type": "jwt", "user_claim": "sub", "bound_claims_type": "glob"});
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.done("auth/jwt/role/bot", &role);
    }

    /// Writes, and it has to be taken.
    pub fn done(&self, path: &str, body: &Value) {
        let done = self.ask(path, body);
        assert!(done["errors"].is_null(), "{path}: {done}");
    }

    /// Asks with the root's rights.
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        self.call(path, &["-X", "POST", "-d", &body.to_string()])
    }

    /// The names below a path.
    pub fn list(&self, path: &str) -> Vec<String> {
        let listed = self.call(path, &["-X", "LIST"]);
        let keys = listed["data"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    fn call(&self, path: &str, more: &[&str]) -> Value {
        let (root, url) = (format!("X-Vault-Token: {}", Self::ROOT), format!("{}/v1/{path}", self.address));
        let answer = Command::new("curl").args(["-sS", "-H", &root, &url]).args(more).output().unwrap();
        assert!(answer.status.success(), "{path}: {}", String::from_utf8_lossy(&answer.stderr));
        if answer.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&answer.stdout).unwrap() }
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
