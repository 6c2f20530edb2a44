//! `exeat` as its users start it: a configuration directory, a state directory, a child process.
//!
//! Enters: the lines of a policy and of credentials.toml, and a command. Leaves: a child process. Never: a file outside the
//! test's own directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use broker::ledger::{Entry, State};

use super::authority::Authority;
use super::evidence::{Installation, real_credential};
use super::live::{Live, Run};
use super::log::Log;
use super::upstream::Upstream;

/// The agent of most tests.
const AGENT: &str = "bot";

/// An installation of exeat, and how to start it.
pub struct Exeat {
    directory: Arc<Installation>,
    agent: String,
    sandbox: String,
    upstream: String,
    rules: String,
    options: Vec<String>,
    wrapper: Vec<String>,
    program: String,
    environment: Vec<(String, String)>,
    inherit: bool,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Exeat {
    /// An empty policy for the agent `bot`.
    pub fn new() -> Self {
        // Nothing starts by files that every user could change, as an open umask would have every test write them.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let directory = Arc::new(Installation::new());
        for below in ["config/agents", "config/secrets", "state", "work"] {
            fs::create_dir_all(directory.path().join(below)).unwrap();
        }
        let exeat = Self {
            directory,
            agent: AGENT.to_owned(),
            sandbox: String::new(),
            upstream: String::new(),
            rules: String::new(),
            options: Vec::new(),
            wrapper: Vec::new(),
            program: binary(),
            environment: Vec::new(),
            inherit: true,
            stdin: Vec::new(),
            limit: Duration::from_secs(60),
        };
        fs::write(exeat.config("ca.pem"), Authority::trusted().pem()).unwrap();
        exeat
    }

    /// Lets the agent call `to` at this upstream.
    pub fn allow(self, to: &str, upstream: &Upstream) -> Self {
        self.allow_with(to, upstream, "")
    }

    /// The same, with more lines in the rule.
    pub fn allow_with(self, to: &str, upstream: &Upstream, lines: &str) -> Self {
        self.rule(&format!("[[allow]]\nto = \"{to}\"\ndial = \"{}\"\n{lines}\n", upstream.dial()))
    }

    /// Adds lines to the end of the policy.
    pub fn rule(mut self, lines: &str) -> Self {
        self.rules += lines;
        self.rules += "\n";
        self.write_policy();
        self
    }

    /// Adds lines to the policy's `[sandbox]`.
    pub fn sandbox(mut self, lines: &str) -> Self {
        self.sandbox += lines;
        self.sandbox += "\n";
        self.write_policy();
        self
    }

    /// Adds lines to the policy's `[upstream]`.
    pub fn upstream(mut self, lines: &str) -> Self {
        self.upstream += lines;
        self.upstream += "\n";
        self.write_policy();
        self
    }

    /// Adds a credential for the agent, in `credentials.toml`.
    pub fn credential(self, name: &str, lines: &str) -> Self {
        let file = self.config("credentials.toml");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, format!("{before}[{name}]\nagents = [\"{}\"]\n{lines}\n", self.agent)).unwrap();
        self
    }

    /// Adds a credential that someone made by hand, and its secret in a file of the broker's.
    #[track_caller]
    pub fn fixed(self, name: &str, secret: &str, lines: &str) -> Self {
        let line = format!("issuer = \"fixed\"\nvalue = {{ file = \"secrets/{name}\" }}\n{lines}");
        self.secret(name, secret).credential(name, &line)
    }

    /// Writes a file that only the broker reads, with a real credential in it.
    #[track_caller]
    pub fn secret(self, name: &str, value: &str) -> Self {
        real_credential(value);
        let file = self.config("secrets").join(name);
        fs::write(&file, value).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    /// Adds options of `exeat run`.
    pub fn option(mut self, option: &[&str]) -> Self {
        self.options.extend(option.iter().map(ToString::to_string));
        self
    }

    /// Another program than the one under test.
    pub fn program(mut self, program: &str) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Starts exeat by way of another command.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Has names resolve, on exeat's side, as these lines of /etc/hosts say.
    pub fn hosts(self, lines: &str) -> Self {
        let file = self.path("hosts");
        fs::write(&file, format!("127.0.0.1 localhost\n{lines}")).unwrap();
        let mount = format!("mount --bind '{}' /etc/hosts", file.display());
        self.through_mounts(&mount)
    }

    /// Has exeat's machine be one without another network than this Python program's, which is its name server, too; the resolver adds the
    /// domain `house.example.com` to names. What the program writes into its first argument is in [`Exeat::house`].
    pub fn in_a_house(self, program: &str) -> Self {
        let resolver = "nameserver 127.0.0.1\nsearch house.example.com\noptions ndots:5 attempts:1\n";
        fs::write(self.path("resolv.conf"), resolver).unwrap();
        fs::write(self.path("house.py"), program).unwrap();
        let exeat = self.hosts("");
        let [hosts, resolver, program, said] =
            ["hosts", "resolv.conf", "house.py", "house"].map(|name| exeat.path(name).display().to_string());
        let script = format!(
            "ip link set lo up && mount --bind '{hosts}' /etc/hosts && mount --bind '{resolver}' /etc/resolv.conf && \
             {{ python3 '{program}' '{said}' </dev/null >/dev/null 2>&1 & }} && until [ -e '{said}' ]; do sleep 0.02; done"
        );
        exeat.through_namespaces(&["--mount", "--net"], &script)
    }

    /// What the program of the house has said, line by line.
    pub fn house(&self) -> Vec<String> {
        fs::read_to_string(self.path("house")).unwrap().lines().map(str::to_owned).collect()
    }

    /// Starts exeat after shell commands that mount, where nobody else sees the mounts.
    pub fn through_mounts(self, script: &str) -> Self {
        self.through_namespaces(&["--mount"], script)
    }

    /// Starts exeat after shell commands in namespaces of their own. An ordinary user has them in a user namespace, and starts exeat
    /// under their own number in one below it.
    fn through_namespaces(self, kinds: &[&str], script: &str) -> Self {
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let (own, script) = match user {
            0 => (&[][..], format!("{script} && exec \"$@\"")),
            _ => {
                let below = format!("{script} && exec unshare --user --map-user={user} --map-group={group} \"$@\"");
                (&["--user", "--map-root-user"][..], below)
            }
        };
        self.through(&[&["unshare"][..], own, kinds, &["sh", "-c", &script, "sh"]].concat())
    }

    /// Sets a variable of exeat's own environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives exeat nothing of the test's environment.
    pub fn bare_environment(mut self) -> Self {
        self.inherit = false;
        self
    }

    /// What the command reads from standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Another time limit than a minute.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Says that the test writes into the call log itself.
    pub fn tampers_with_the_log(self) -> Self {
        self.directory.is_tampered_with();
        self
    }

    /// A path in the configuration directory.
    pub fn config(&self, path: &str) -> PathBuf {
        self.directory.path().join("config").join(path)
    }

    /// The agent's policy file.
    pub fn policy_file(&self) -> PathBuf {
        self.config(&format!("agents/{}.toml", self.agent))
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// What is in the ledgers of all brokers of the runs, oldest lease first.
    pub fn leases(&self) -> Vec<Entry> {
        let found = broker::ledger::read(&self.state().join("leases")).unwrap();
        found.into_iter().map(|found| found.entry).collect()
    }

    /// Whether all brokers are gone: a killed process takes a moment.
    pub fn has_no_broker(&self) -> bool {
        let found = broker::ledger::read(&self.state().join("leases")).unwrap();
        found.iter().all(|found| !found.living)
    }

    /// Whether the last lease is in this state.
    pub fn last_lease_is(&self, state: State) -> bool {
        self.leases().last().is_some_and(|lease| lease.state == state)
    }

    /// The working directory of the runs, which the command may write.
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// A path that the test may use for itself.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The call log so far.
    pub fn log(&self) -> Log {
        Log::read(&self.state())
    }

    fn write_policy(&self) {
        let Self { sandbox, upstream, rules, .. } = self;
        let text =
            format!("[upstream]\nroots = [\"../ca.pem\"]\n{upstream}\n[sandbox]\nwrite = [\".\"]\n{sandbox}\n{rules}");
        fs::write(self.policy_file(), text).unwrap();
    }

    /// Runs a command as the agent, to its end.
    pub fn run(&self, command: &[&str]) -> Run {
        self.start(command).finish()
    }

    /// Runs a shell script as the agent, to its end.
    pub fn sh(&self, script: &str) -> Run {
        self.run(&["sh", "-c", script])
    }

    /// Runs a Python program as the agent, to its end.
    pub fn python(&self, program: &str) -> Run {
        self.run(&["python3", "-c", program])
    }

    /// Starts a command as the agent.
    pub fn start(&self, command: &[&str]) -> Live {
        self.spawn(&self.run_arguments(command), Some(self.stdin.clone()))
    }

    /// Starts a command as the agent, to whose standard input the test writes as it goes.
    pub fn start_with_input(&self, command: &[&str]) -> Live {
        self.spawn(&self.run_arguments(command), None)
    }

    fn run_arguments<'a>(&'a self, command: &[&'a str]) -> Vec<&'a str> {
        if !self.policy_file().exists() {
            self.write_policy();
        }
        let options = self.options.iter().map(String::as_str);
        let arguments = ["run", "--agent", &self.agent].into_iter().chain(options).chain(["--"]);
        arguments.chain(command.iter().copied()).collect()
    }

    /// Starts any of exeat's subcommands.
    pub fn exeat(&self, arguments: &[&str]) -> Live {
        self.spawn(arguments, Some(self.stdin.clone()))
    }

    fn spawn(&self, arguments: &[&str], stdin: Option<Vec<u8>>) -> Live {
        let mut words: Vec<String> = self.wrapper.clone();
        words.push(self.program.clone());
        let (config, state) = (self.directory.path().join("config"), self.state());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(arguments);
        if !self.inherit {
            command.env_clear();
        }
        command.env("EXEAT_CONFIG", config).env("EXEAT_STATE", &state).current_dir(self.work());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut live = Live::spawn(&mut command, stdin, self.limit);
        live.keep(Arc::clone(&self.directory));
        if arguments.first() == Some(&"run") {
            live.log_in(state);
        }
        live
    }
}

/// The binary under test.
pub fn binary() -> String {
    std::env::var("EXEAT_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_exeat").to_owned())
}

/// The one that was built to lack what a test takes away (`proxy/src/sabotage.rs`).
pub fn sabotaged() -> String {
    std::env::var("EXEAT_SABOTAGED").unwrap_or_else(|_| {
        panic!("EXEAT_SABOTAGED has to name an `exeat` that was built with `--features sabotage`, as tests/run does")
    })
}
