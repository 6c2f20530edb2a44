//! What the types of a record leave open, for its schema: what others report of a sandbox, the kinds of refusal, how texts look.
//!
//! Enters: nothing. Leaves: shapes. Never: a value; nothing is written or read with these.

#![allow(dead_code, reason = "these are only looked at, by the generator of the schema")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::event::FORMAT;

/// A SHA-256 as others show it too.
const FINGERPRINT: &str = "^sha256:[0-9a-f]{64}$";
pub(crate) const SHA256: &str = "^[0-9a-f]{64}$";
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
const SPIFFE: &str = "^spiffe://[^/]+/agent/[^/]+/worker/[0-9a-f-]{36}$";
/// Names of agents, credentials.
const NAME: &str = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$";
const RULE: &str = "^(allow|deny) #[0-9]+ \\(line [0-9]+\\)$|^no rule \\(observed\\)$";
/// An address and a port.
const ADDRESS: &str = "^([0-9.]+|\\[[0-9a-fA-F:.]+(%[^\\]]+)?\\]):[0-9]+$";
const PLACES: [&str; 6] = ["header", "basic", "query", "body", "websocket", "signature"];
const OUTCOMES: [&str; 6] = ["done", "refused", "broken", "cut", "abandoned", "answered-here"];
const SCHEMES: [&str; 2] = ["https", "http"];
const HTTP: [&str; 5] = ["HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"];
const LIMITS: [&str; 5] = ["memory", "processes", "file_size", "disk", "wall_clock"];

/// What a field's value looks like beyond its type: (what has it, the field, what of the schema). A table here and no attributes there, as those who
/// read the types need none of it.
pub(crate) fn looks() -> Vec<(&'static str, &'static str, Value)> {
    let pattern = |pattern: &str| json!({ "pattern": pattern });
    let one_of = |words: &[&str]| json!({ "enum": words });
    let each = |look: Value| json!({ "items": look });
    let from_one = || json!({ "minimum": 1 });
    let status = || json!({ "minimum": 100, "maximum": 999 });
    let is = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    vec![
        ("", "seq", from_one()),
        ("", "time", json!({ "format": "date-time" })),
        ("WorkerStart", "format", json!({ "const": FORMAT })),
        ("WorkerStart", "worker", pattern(UUID)),
        ("WorkerStart", "agent", pattern(NAME)),
        ("WorkerStart", "identity", pattern(SPIFFE)),
        ("WorkerStart", "policy", pattern(FINGERPRINT)),
        ("WorkerStart", "sandbox", is("Sandbox")),
        ("WorkerStart", "lock", is("Lock")),
        ("WorkerStart", "credentials", each(pattern(NAME))),
        ("SegmentStart", "worker", pattern(UUID)),
        ("SegmentStart", "agent", pattern(NAME)),
        ("CallStart", "call", from_one()),
        ("CallStart", "scheme", one_of(&SCHEMES)),
        ("CallStart", "http", one_of(&HTTP)),
        ("CallStart", "rule", pattern(RULE)),
        ("CallStart", "policy", pattern(FINGERPRINT)),
        ("CallStart", "client_certificate", pattern(FINGERPRINT)),
        ("Observed", "kind", one_of(KINDS)),
        ("Trace", "trace_id", pattern("^[0-9a-f]{32}$")),
        ("Trace", "span_id", pattern("^[0-9a-f]{16}$")),
        ("Trace", "parent", pattern("^[0-9a-f]{16}$")),
        ("TunnelStart", "call", from_one()),
        ("TunnelStart", "tls", one_of(&["passthrough", "tcp"])),
        ("TunnelStart", "rule", pattern(RULE)),
        ("TunnelStart", "policy", pattern(FINGERPRINT)),
        ("CredentialUse", "name", pattern(NAME)),
        ("CredentialUse", "lease", pattern(UUID)),
        ("CredentialUse", "in", each(one_of(&PLACES))),
        ("Retried", "refused", pattern(UUID)),
        ("Retried", "lease", pattern(UUID)),
        ("CallRetried", "refused", pattern(UUID)),
        ("CallRetried", "lease", pattern(UUID)),
        ("TlsLeg", "version", one_of(&["TLSv1_3", "TLSv1_2"])),
        ("CallEnd", "outcome", one_of(&OUTCOMES)),
        ("CallEnd", "status", status()),
        ("CallEnd", "address", pattern(ADDRESS)),
        ("Refused", "scheme", one_of(&SCHEMES)),
        ("Refused", "kind", one_of(KINDS)),
        ("Refused", "status", status()),
        ("Refused", "rule", pattern(RULE)),
        ("policy-reloaded", "policy", pattern(FINGERPRINT)),
        ("WorkerEnd", "limit", one_of(&LIMITS)),
        ("WorkerEnd", "limits", is("Met")),
    ]
}

/// Every kind of refusal; a test of the proxy compares it with the table of its answers.
const KINDS: &[&str] = &[
    // What the policy says.
    "host-not-listed",
    "address-not-listed",
    "port-not-listed",
    "passes-unread",
    "plain-http-not-allowed",
    "method-not-allowed",
    "path-not-allowed",
    "encoded-slash",
    "denied-by-rule",
    "rate-limited",
    "forbidden-address",
    "tool-not-allowed",
    // What cannot be judged.
    "unknown-address",
    "no-server-name",
    "encrypted-hello",
    "witnesses-disagree",
    "malformed",
    "unexamined-body",
    "unswappable-body",
    "slow-head",
    "flood",
    "not-http",
    "client-tls",
    "ca-not-trusted",
    "method-not-offered",
    "own-listener",
    "body-not-judged",
    "body-unreadable",
    "body-too-large",
    // Credentials.
    "placeholder-misdirected",
    "calls-as-itself",
    "signature",
    "credential-unavailable",
    "awaits-approval",
    "not-approved",
    "credential-revoked",
    // The other side.
    "unresolved",
    "unreachable",
    "upstream-proxy",
    "upstream-tls",
    "upstream-answer",
    "upstream-silent",
    "unscrubbable-answer",
    "listing-unreadable",
    // exeat itself.
    "crowded",
    "no-longer-unread",
    "other-way",
    "stopped",
    "leaf-unavailable",
    "log-unavailable",
];

/// What is in force for a sandbox, said by those who put it in force.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Sandbox {
    /// The user the command runs as, inside and outside.
    uid: u32,
    /// Its only group that means anything inside.
    gid: u32,
    /// The namespaces of its own.
    namespaces: Vec<String>,
    /// How connections are caught: all of them, or those to these ports.
    capture: Capture,
    /// Whether there is IPv6 inside.
    ipv6: bool,
    /// Which system calls exist inside.
    syscall_filter: SyscallFilter,
    /// What Landlock holds behind the mounts; null where the kernel has none.
    landlock: Option<Landlock>,
    /// Whether namespaces may be made inside. Then Landlock holds no files, and /proc shows what is the machine's.
    nested: bool,
    /// Whether the command has a terminal of its own, relayed by the worker.
    terminal: bool,
    /// Paths bound with root's files shown as the command's own.
    idmapped: Vec<String>,
    /// Directories that stay as they are, under a layer for what is written.
    layered: Vec<String>,
    /// What is out of sight within what is shown.
    hidden: Hidden,
    /// The limits that hold, null where there is none.
    limits: Limits,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Capture {
    /// All TCP but to the sandbox's own loopback.
    Redirect,
    /// TCP to these ports, at any address.
    Ports(Vec<u16>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum SyscallFilter {
    /// Those that are listed, by their arguments where these matter.
    AllowList,
    /// All: there is no list for this processor.
    None,
}

/// What Landlock holds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Landlock {
    /// The kernel's version of it.
    abi: i64,
    /// Files are written only in write paths, scratch space, devices and /proc; device files are made nowhere.
    files: bool,
    /// Signals and abstract sockets reach nobody outside.
    scopes: bool,
    /// Nor do sockets with paths, whenever they were made. Where it is false, those that were there at the start are covered; absent in logs of
    /// before this was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sockets: Option<bool>,
}

/// What is out of sight.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hidden {
    /// How many files and directories.
    count: usize,
    /// The first of them.
    paths: Vec<String>,
    /// How many names were looked through for such as secrets have; null where that was not asked for.
    looked_at: Option<u64>,
}

/// The limits that hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Processes and threads at a time.
    processes: u64,
    /// `RLIMIT_NOFILE`: open files of one process.
    files: u64,
    /// `RLIMIT_DATA`: private writable memory of one process, in bytes.
    memory_per_process: Option<u64>,
    /// Size of the file system behind /tmp, /dev/shm and the home directory, in bytes.
    scratch: Option<u64>,
    /// All processes together, with their temporary files, in bytes.
    memory_together: Option<u64>,
    /// Processor time by wall-clock time, of all together: 1.5 is one and a half processors.
    cpus: Option<f64>,
    /// `RLIMIT_FSIZE`: one file that is written, in bytes.
    file_size: Option<u64>,
    /// What all of them may write to disks, and have in scratch space, in bytes.
    disk: Option<u64>,
    /// What holds each of them, by its name here.
    by: BTreeMap<String, Means>,
    /// Seconds after which the command is told to end.
    wall_clock: Option<u64>,
    /// Seconds after which it is killed when it does not.
    grace: u64,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Means {
    /// A cgroup of version 2: the kernel, for all processes together.
    Cgroup2,
    /// Cgroups of version 1: the same.
    Cgroup1,
    /// The kernel, for each process (of `processes`: for the sandbox's user).
    Rlimit,
    /// The size of a file system in memory.
    Tmpfs,
    /// Looking every few milliseconds, and ending the sandbox.
    Poll,
}

/// What holds a worker itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Lock {
    /// The capabilities that it has left.
    capabilities: String,
    /// Whether the set is empty that bounds what it could gain, which only a privileged process can see to.
    bounding_set_empty: bool,
    /// The version of Landlock that bounds its files, ports and abstract sockets; null where none does.
    landlock: Option<i64>,
    /// Whether only listed system calls are answered.
    syscall_filter: bool,
    /// Whether its memory can be dumped, read or traced by other processes of its user.
    dumpable: bool,
}

/// What came of the limits.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Met {
    /// Processes that the kernel killed for memory.
    memory_kills: u64,
    /// The most memory that all of them had together, in bytes; null where nothing counts it.
    memory_peak: Option<u64>,
    /// Processes or threads that were not made, as there were too many.
    processes_refused: u64,
    /// Milliseconds for which processes were held back for having had their share of the processors.
    cpu_slowed_ms: u64,
    /// Bytes that were written, where `disk` is limited.
    written: Option<u64>,
    /// Whether that was more than there is leave for.
    disk_full: bool,
    /// Whether the sandbox was ended because what it writes could no longer be counted.
    uncounted: bool,
}
