//! A broker on one end of a socketpair, and what it needs.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use broker::ledger::{self, Entry};
use broker::{Client, Error, Lease, LedgerPlace, Secret, Settings};
use config::{AgentId, CredentialName, Credentials, Destination};
use std::sync::Arc;
use tokio::task::JoinHandle;

use crate::endpoint::{CLIENT_ID, CLIENT_SECRET, Endpoint};

pub type Serving = JoinHandle<Result<Vec<Entry>, Error>>;

/// Settings with one OAuth 2.0 credential, `api`, for the agent `bot` at `api.example`.
pub fn settings(endpoint: &Endpoint) -> Settings {
    settings_with(endpoint, "/fetch", "auth = \"basic\"")
}

pub fn settings_with(endpoint: &Endpoint, path: &str, more: &str) -> Settings {
    let (url, roots) = (&endpoint.url, endpoint.roots.display());
    from_toml(&format!(
        "[api]\nissuer = \"oauth2-client\"\ntoken_endpoint = \"{url}{path}\"\nrevocation_endpoint = \"{url}/revoke\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = {{ env = \"CLIENT_SECRET\" }}\nroots = [\"{roots}\"]\n\
         agents = [\"bot\"]\nto = [\"api.example\"]\nenv = \"API_KEY\"\n{more}\n"
    ))
}

pub fn from_toml(text: &str) -> Settings {
    let mut settings = Settings::new(Credentials::parse("/etc/exeat/credentials.toml", text).unwrap());
    settings.environment.insert("CLIENT_SECRET".to_owned(), Secret::new(CLIENT_SECRET));
    settings.linger = Duration::from_secs(20);
    settings
}

/// The same with its ledger, and those of others, in a state directory.
pub fn kept_in(state: &Path, settings: Settings) -> Settings {
    let place = LedgerPlace { directory: state.join("leases"), name: None, key: state.join("ledger.key") };
    Settings { ledger: Some(place), ..settings }
}

/// All leases in the ledgers of a state directory.
pub fn leases(state: &Path) -> Vec<Entry> {
    ledger::read(&state.join("leases")).unwrap().into_iter().map(|found| found.entry).collect()
}

/// The only one.
pub fn the_lease(state: &Path) -> Entry {
    let mut leases = leases(state);
    assert_eq!(leases.len(), 1, "{leases:?}");
    leases.remove(0)
}

/// Serves on one end of a socketpair; the other end is for the worker.
pub fn serve(settings: Settings) -> (UnixStream, Serving) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, tokio::spawn(broker::serve_connection(theirs, settings)))
}

/// A worker of the agent `bot`.
pub async fn worker(settings: Settings) -> (Client, Serving) {
    let (stream, serving) = serve(settings);
    let client = Client::from_stream(stream).unwrap();
    client.register(&agent("bot")).await.unwrap();
    (client, serving)
}

pub async fn lease(client: &Client) -> Result<Arc<Lease>, broker::ClientError> {
    client.lease(&name("api"), &destination("api.example:443")).await
}

pub fn agent(text: &str) -> AgentId {
    text.parse().unwrap()
}

pub fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

pub fn destination(text: &str) -> Destination {
    text.parse().unwrap()
}

/// Waits for something that is to happen soon.
pub async fn soon(what: &str, happened: impl Fn() -> bool) {
    for _ in 0..500 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never happened: {what}");
}
