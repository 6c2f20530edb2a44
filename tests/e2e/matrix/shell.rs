//! Programs that people call from a shell.
//!
//! Enters: nothing. Leaves: one client each. Never: an option about certificates.

use super::client::Client;

pub fn curl() -> Client {
    let call = "curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/leak/body";
    Client::new("curl", "curl --version | awk '{ print $2; exit }'", call)
}

pub fn wget() -> Client {
    let call = "wget -qO- --header \"Authorization: Bearer $API_KEY\" https://api.example.com/leak/body";
    Client::new("wget (GnuTLS)", "wget --version | awk '{ print $3; exit }'", call)
}

pub fn git() -> Client {
    let call = "git ls-remote https://bot:$API_KEY@git.example.com/acme/site.git";
    Client::new("git", "git --version | awk '{ print $3 }'", call).of_git().prints("refs/heads/main")
}

pub fn gh() -> Client {
    let call = "gh api --hostname api.example.com user --jq .login";
    Client::new("gh", "gh --version | awk '{ print $3; exit }'", call)
        .env("GH_ENTERPRISE_TOKEN")
        .answers(&[("/api/v3/user", "{\"login\": \"{shown}\"}")])
}

pub fn kubectl() -> Client {
    let version = "kubectl version --client -o json | sed -n 's/.*\"gitVersion\": \"v\\([0-9.]*\\).*/\\1/p'";
    Client::new("kubectl", version, "kubectl get --raw /leak/body").lines("files = [\"kubeconfig\"]")
}
