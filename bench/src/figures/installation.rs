//! exeat as it is measured: ten rules and one upstream; for attacks, three rules more and an upstream of their own.
//!
//! Enters: where exeat is, and a directory. Leaves: configuration files, the upstream's process, and commands that run as an agent.
//! Never: a file or a process that is left behind.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::error::Error;
use crate::job;
use crate::upstream::{Addresses, CREDENTIAL};

use super::server::{self, Served};

/// Without a credential: nothing is swapped or scrubbed.
pub const PLAIN: &str = "plain";
/// With one: each request's header is swapped, each answer scrubbed.
pub const SWAPS: &str = "swaps";
/// The same with a neighbour, who has an upstream of its own: what waits in that one's queue is not exeat's doing.
pub const ATTACKED: &str = "attacked";
/// The same, that one's upstream with the least priority.
pub const BACKGROUND: &str = "background";

/// How many rules an agent may have with [`Installation::with_rules`].
pub const RULES: [u32; 5] = [1, 10, 100, 1_000, 10_000];
/// Hosts that the rules of a policy of many rules are for.
const HOSTS: u32 = 1_000;

/// What every agent may do, to be a policy of ten rules in which the one that matters is not the first.
const OTHERS: &str = r#"
[[allow]]
to = "api.example.net"
methods = ["GET", "POST"]
paths = ["/repos/acme/**", "/users/*"]

[[allow]]
to = "registry.example.net"
methods = ["GET", "HEAD"]

[[allow]]
to = "*.packages.example.net"
methods = ["GET"]
paths = ["/simple/**"]

[[allow]]
to = "10.20.0.0/16"

[[deny]]
to = "api.example.net"
paths = ["/repos/acme/payroll/**"]

[[deny]]
to = "*.bench.example"
paths = ["/internal/**"]
"#;

/// Everything that stands while figures are taken.
pub struct Installation {
    room: TempDir,
    exeat: PathBuf,
    /// The upstream's process.
    pub upstream: Served,
    /// Those of whoever attacks.
    _neighbours: [Served; 2],
}

impl Installation {
    /// Writes the files and starts the upstream.
    pub fn lay_out(exeat: &Path, room: &Path) -> Result<Self, Error> {
        Self::before(server::own, exeat, room)
    }

    /// Another one beside this, with nginx for its upstream.
    pub fn with_nginx(&self) -> Result<Self, Error> {
        let beside = self.room.path().parent().unwrap_or(self.room.path());
        Self::before(server::nginx, &self.exeat, beside)
    }

    fn before(serve: fn(&Path) -> Result<Served, Error>, exeat: &Path, room: &Path) -> Result<Self, Error> {
        fs::create_dir_all(room)?;
        let room = tempfile::Builder::new().prefix("figures-").tempdir_in(room.canonicalize()?)?;
        let below = |path: &str| room.path().join(path);
        for directory in ["config/agents", "work", "state"] {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(below(directory))?;
        }
        // The sandbox's user, who is not root, reads the driver from the working directory.
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755))?;
        fs::copy(std::env::current_exe()?, below("work/driver"))?;
        // As it is installed. What a linker has just written lies in the kernel's cache in single pages, and takes three times as long to map.
        fs::copy(exeat, below("exeat"))?;
        let upstream = serve(&below("config/ca.pem"))?;
        let neighbours = server::own(&below("config/neighbours-ca.pem"))?;
        let background = server::background(&below("config/background-ca.pem"))?;
        for agent in [PLAIN, SWAPS, ATTACKED, BACKGROUND] {
            let theirs = if agent == BACKGROUND { &background } else { &neighbours };
            let policy = policy(agent, &upstream.addresses, &theirs.addresses);
            fs::write(below(&format!("config/agents/{agent}.toml")), policy)?;
        }
        fs::write(below("config/credential"), CREDENTIAL)?;
        fs::set_permissions(below("config/credential"), fs::Permissions::from_mode(0o600))?;
        fs::write(below("config/credentials.toml"), credentials())?;
        Ok(Self { exeat: below("exeat"), room, upstream, _neighbours: [neighbours, background] })
    }

    /// Runs `words` as `agent`, from the directory that the driver is in.
    pub fn command(&self, agent: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.exeat);
        command.arg("--config").arg(self.room.path().join("config")).arg("--state").arg(self.room.path().join("state"));
        command.args(["run", "--agent", agent, "--"]).args(words).current_dir(self.room.path().join("work"));
        command
    }

    /// An agent with so many rules and the credential; the one that matters is the last.
    pub fn with_rules(&self, rules: u32) -> Result<String, Error> {
        let mut policy = "[upstream]\nroots = [\"../ca.pem\"]\n\n[sandbox]\nfiles = 12000\n".to_owned();
        for rule in 1..rules {
            let host = rule % HOSTS;
            policy += &format!(
                "\n[[allow]]\nto = \"host{host}.example.net\"\nmethods = [\"GET\"]\npaths = [\"/{rule}/**\"]\n"
            );
        }
        let dial = self.upstream.addresses.http1;
        policy += &format!(
            "\n[[allow]]\nto = \"h1.bench.example\"\ndial = \"{dial}\"\nmethods = [\"GET\"]\ncredential = \"bench\"\n"
        );
        let agent = format!("rules-{rules}");
        fs::write(self.room.path().join(format!("config/agents/{agent}.toml")), policy)?;
        Ok(agent)
    }

    /// Runs the driver with no sandbox around it.
    pub fn directly(&self) -> Command {
        let mut command = Command::new("./driver");
        command.arg("drive").current_dir(self.room.path().join("work"));
        command.env("SSL_CERT_FILE", self.authority()).env("BENCH_CREDENTIAL", CREDENTIAL);
        command
    }

    /// Who signed the upstream's certificate.
    pub fn authority(&self) -> PathBuf {
        self.room.path().join("config/ca.pem")
    }

    /// A directory of its own in the room, removed with it.
    pub fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let directory = self.room.path().join(name);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(directory)
    }
}

fn policy(agent: &str, addresses: &Addresses, neighbours: &Addresses) -> String {
    let Addresses { http1, both } = addresses;
    let credential = if agent != PLAIN { "credential = \"bench\"\n" } else { "" };
    let rule = |to: &str, dial| {
        format!("[[allow]]\nto = \"{to}\"\ndial = \"{dial}\"\nmethods = [\"GET\", \"POST\"]\n{credential}")
    };
    let theirs = match agent {
        ATTACKED | BACKGROUND => [
            rule(job::neighbours::HTTP1, &neighbours.http1),
            rule(job::neighbours::HTTP2, &neighbours.both),
            rule(&format!("*.{}", job::neighbours::NAMES), &neighbours.http1),
        ]
        .join("\n"),
        _ => String::new(),
    };
    format!(
        "[upstream]\nroots = [\"../ca.pem\", \"../neighbours-ca.pem\", \"../background-ca.pem\"]\n\n[sandbox]\nfiles = 12000\n{OTHERS}\n{}\n{}\n{}\n{}\n{theirs}",
        rule("h1.bench.example", http1),
        rule("h2.bench.example", both),
        rule("*.names.bench.example", http1),
        "[[allow]]\nto = \"status.example.net\"\n",
    )
}

fn credentials() -> String {
    let many = RULES.map(|rules| format!(", \"rules-{rules}\"")).concat();
    format!(
        "[bench]\nissuer = \"fixed\"\nvalue = {{ file = \"credential\" }}\nagents = [\"{SWAPS}\", \"{ATTACKED}\", \"{BACKGROUND}\"{many}]\n\
         to = [\"*.bench.example\"]\nin = [\"header\"]\nenv = \"BENCH_CREDENTIAL\"\n"
    )
}
