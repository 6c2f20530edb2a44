//! What the battery inside is told: where the canaries are, what the policy would and would not let out.
//!
//! Enters: what was read outside. Leaves: one JSON document on the battery's standard input. Never: a credential, nor the value of
//! a placeholder; the battery finds that in its environment.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Everything that the attempts need to know of the outside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Brief {
    /// A word of this run, which nothing else has in it.
    pub(crate) nonce: String,
    /// The groups to try; none stands for all.
    pub(crate) only: Vec<String>,
    /// The address of the canary at the end of all calls.
    pub(crate) end: String,
    /// What listens and lies outside.
    pub(crate) canaries: Canaries,
    /// Addresses at which there is nobody (RFC 5737, RFC 3849).
    pub(crate) nobody: Vec<IpAddr>,
    /// Services at private and metadata addresses that no rule lists.
    pub(crate) private: Vec<SocketAddr>,
    /// The resolvers that the machine itself asks.
    pub(crate) machine_resolvers: Vec<IpAddr>,
    /// Well-known resolvers that no rule lists, by address and by name.
    pub(crate) public_resolvers: Vec<(IpAddr, String)>,
    /// The namespaces outside: `net` and `net:[4026531840]`.
    pub(crate) namespaces: Vec<(String, String)>,
    /// The socket of the broker, where that is a service.
    pub(crate) broker: Option<PathBuf>,
    /// Exeat's own directories, files first.
    pub(crate) own_files: Vec<PathBuf>,
    /// Directories in which a file of the command's would be believed by exeat.
    pub(crate) own_directories: Vec<PathBuf>,
    /// Variables that exeat makes or passes on.
    pub(crate) variables: Vec<String>,
    /// Digests of the values of the caller's other variables.
    pub(crate) withheld: Vec<String>,
    /// The port to call on: one that the policy names.
    pub(crate) port: u16,
    /// A name that no rule lists and that does not exist.
    pub(crate) unlisted: String,
    /// Whether the policy lets commands make namespaces.
    pub(crate) nested: bool,
    /// A call that a rule allows, where there is such a rule.
    pub(crate) allowed: Option<Call>,
    /// The same by a rule without a credential: it may go out, to the canary at the end of all calls, and nothing is leased for it.
    pub(crate) carried: Option<Call>,
    /// One that may go out in the clear as well.
    pub(crate) in_the_clear: Option<Call>,
    /// One that would be judged otherwise with another method or path.
    pub(crate) told_apart: Option<Call>,
    /// A POST that would be, as some take another method from its body.
    pub(crate) posted: Option<Call>,
    /// Calls that would be by which something is copied or moved (RFC 4918).
    pub(crate) moving: Vec<Call>,
    /// A path that may be neither read nor written where `told_apart`, `posted` and `moving` go.
    pub(crate) beside: Option<String>,
    /// A call that a rule allows over TLS only.
    pub(crate) plain: Option<Call>,
    /// A host to which TLS passes unread.
    pub(crate) unread: Option<Call>,
    /// A place that all bytes go to unread.
    pub(crate) tunnel: Option<Call>,
    /// Calls to names and ports that look like a listed one, and that no rule lists.
    pub(crate) look_alikes: Vec<Call>,
    /// Calls whose path is a denied one in disguise, or climbs out of an allowed one.
    pub(crate) paths: Vec<Disguise>,
    /// A call to an MCP server of which not every tool is listed.
    pub(crate) mcp: Option<Call>,
    /// What may be seen of the tools of such a server, at which nothing is leased.
    pub(crate) listing: Option<Listing>,
    /// A call to a GraphQL endpoint, and an operation that is not listed for it.
    pub(crate) graphql: Option<(Call, String)>,
    /// Placeholders, and where their credential may not go.
    pub(crate) placeholders: Vec<Misdirection>,
    /// Placeholders, and a call to where their credential may go, but not without TLS.
    pub(crate) bared: Vec<Misdirection>,
}

/// The digest of a value, which tells nobody the value.
pub(crate) fn digest(nonce: &str, value: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[nonce.as_bytes(), value].concat());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The namespaces of this process, by kind.
pub(crate) fn namespaces() -> Vec<(String, String)> {
    let kinds = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];
    let named = kinds.into_iter().filter_map(|kind| {
        let link = std::fs::read_link(Path::new("/proc/self/ns").join(kind)).ok()?;
        Some((kind.to_owned(), link.display().to_string()))
    });
    named.collect()
}

/// What listens and lies outside, none of it to be reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Canaries {
    /// On the machine's loopback, IPv4 then IPv6.
    pub(crate) loopback: Vec<SocketAddr>,
    /// On its other addresses, IPv4 then IPv6; those that a rule lists are left out.
    pub(crate) machine: Vec<SocketAddr>,
    /// UDP, on all of these addresses.
    pub(crate) datagrams: Vec<SocketAddr>,
    /// What has the one at the end of all calls say what else has come. It listens where every user of this machine may speak.
    pub(crate) recall: String,
    /// The name of an abstract Unix socket.
    pub(crate) abstract_socket: String,
    /// A Unix socket in a directory that the policy does not show.
    pub(crate) socket: PathBuf,
    /// Two that take datagrams: one by a name of the abstract kind, one in the same directory.
    pub(crate) datagram_name: String,
    pub(crate) datagram_socket: PathBuf,
    /// Files in the machine's directories for temporary ones.
    pub(crate) temporary: Vec<PathBuf>,
    /// A file that is called as a secret is, in the directory that the command starts in; none where that is not to be written, or the policy
    /// shows such files.
    pub(crate) secret: Option<PathBuf>,
    /// The name of a key in the user's keyring; none where the kernel has no keyrings.
    pub(crate) key: Option<String>,
}

/// A call as it is tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) method: String,
    pub(crate) path: String,
}

/// An MCP server's list of tools: one that its rule lists, and one that it does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) call: Call,
    pub(crate) listed: String,
    pub(crate) unlisted: String,
}

/// A call that the policy must not let out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Disguise {
    pub(crate) call: Call,
    /// Whether it does so nevertheless; then it is not tried.
    pub(crate) let_out: bool,
}

/// A placeholder and a call that its credential does not belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Misdirection {
    /// The variable that has the placeholder.
    pub(crate) variable: String,
    pub(crate) call: Call,
    /// Whether what is found only on its way may be tried with it: a rule allows the call, and nothing is leased for it.
    #[serde(default)]
    pub(crate) streams: bool,
}
