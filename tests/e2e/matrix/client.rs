//! One client of the matrix: how it is run, unmodified, and what came of it.
//!
//! Enters: a name, a script, what it has to print. Leaves: whether its call worked, whether the credential was swapped on its way
//! out and back, and which HTTP it spoke, by the log. Never: an option that tells a client to trust the worker; it finds that by itself.

use std::fs;
use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Answers, Exeat, GitServer, Outside, Run, Upstream, assert_nowhere_below, tools};

/// Compilers and browsers on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(120);

/// A client. Its scripts have `{tools}` for the directory of the tests' tools; beside it is `upstream.pem`, who vouches for the upstream.
pub struct Client {
    name: &'static str,
    version: String,
    script: String,
    prints: &'static str,
    host: &'static str,
    env: &'static str,
    lines: &'static str,
    secret: &'static str,
    proof: &'static str,
    unread: bool,
    program: Option<(&'static str, &'static str)>,
    answers: Answers,
    server: Kind,
}

/// Whom it calls.
#[derive(Clone, Copy)]
enum Kind {
    Api,
    Git,
    Rpc,
}

/// What came of it.
pub struct Found {
    /// As it is in the table, but for the version: call, credential, HTTP.
    pub cells: [String; 3],
    /// The last line that the command for it printed, where it was asked.
    pub version: String,
    /// For whoever wants to know why.
    pub run: Run,
}

impl Client {
    /// Prints, of what the script makes of an answer, the credential that the upstream gives back.
    pub fn new(name: &'static str, version: impl Into<String>, script: &str) -> Self {
        Self {
            name,
            version: version.into(),
            script: script.to_owned(),
            prints: "{key}",
            host: "api.example.com",
            env: "API_KEY",
            lines: "",
            secret: SECRET,
            proof: SECRET,
            unread: false,
            program: None,
            answers: &[],
            server: Kind::Api,
        }
    }

    /// As which it is in the table.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it prints of a right answer; `{key}` is the placeholder.
    pub fn prints(self, prints: &'static str) -> Self {
        Self { prints, ..self }
    }

    /// The variable in which it looks for its credential.
    pub fn env(self, env: &'static str) -> Self {
        Self { env, ..self }
    }

    /// The only host that it calls, where that cannot be api.example.com.
    pub fn host(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// More lines of the credential.
    pub fn lines(self, lines: &'static str) -> Self {
        Self { lines, ..self }
    }

    /// Another secret, and the part of it that is sent.
    pub fn secret(self, secret: &'static str, proof: &'static str) -> Self {
        Self { secret, proof, ..self }
    }

    /// Its connection passes unread, with whatever is in it.
    pub fn unread(self) -> Self {
        Self { unread: true, ..self }
    }

    /// A file beside it.
    pub fn program(self, name: &'static str, text: &'static str) -> Self {
        Self { program: Some((name, text)), ..self }
    }

    /// The API that it calls, where it is a particular one.
    pub fn answers(self, answers: Answers) -> Self {
        Self { answers, ..self }
    }

    /// Calls a real git server, git.example.com.
    pub fn of_git(self) -> Self {
        Self {
            server: Kind::Git,
            host: "git.example.com",
            secret: GitServer::PASSWORD,
            proof: GitServer::PASSWORD,
            ..self
        }
    }

    /// Calls a real gRPC server, rpc.example.com.
    pub fn of_rpc(self) -> Self {
        Self { server: Kind::Rpc, host: "rpc.example.com", ..self }
    }

    /// Runs it.
    pub fn measure(&self, with_version: bool) -> Found {
        let server = Server::start(self.server, self.answers);
        let exeat = self.exeat(&server);
        let run = exeat.sh(&self.shell(with_version));
        let placeholder = between(&run.stdout, "placeholder=").to_owned();
        let printed = self.prints.replace("{key}", &placeholder);
        let answer = run.stdout.split_once('\n').map_or("", |(_, rest)| rest);
        let call = run.code == Some(0) && !placeholder.is_empty() && answer.contains(&printed);

        assert_nowhere_below(&exeat.work(), &[self.secret, self.proof]);
        let inside = [&run.stdout, &run.stderr].into_iter().any(|text| text.contains(self.proof));
        assert!(!inside, "{}: the credential is inside: {run:#?}", self.name);
        let calls = run.log.calls();
        let logged = calls.iter().any(|call| call.credential.is_some());
        let swapped = logged && server.saw(self.proof) && !server.saw(&placeholder);
        let http = if calls.iter().any(|call| call.http == "HTTP/2.0") { "HTTP/2" } else { "HTTP/1.1" };
        let http = if !run.log.tunnels().is_empty() {
            "unread"
        } else if calls.is_empty() {
            "nothing"
        } else {
            http
        };
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        Found {
            cells: [word(call), word(swapped), http.to_owned()],
            version: between(&run.stdout, "version=").to_owned(),
            run,
        }
    }

    fn exeat(&self, server: &Server) -> Exeat {
        let (host, dial) = (self.host, server.dial());
        let env = if self.lines.contains("env =") { String::new() } else { format!("env = \"{}\"\n", self.env) };
        let lines = format!("to = [\"{host}\"]\n{env}{}\n", self.lines);
        let allowed = if self.unread { "tls = \"passthrough\"" } else { "credential = \"api\"" };
        let rule = format!("[[allow]]\nto = \"{host}\"\ndial = \"{dial}\"\n{allowed}\n");
        let exeat = Exeat::new()
            .sandbox(&format!("read = [\"{}\"]", tools().display()))
            .fixed("api", self.secret, &lines)
            .rule(&rule)
            .limit(LIMIT);
        fs::copy(exeat.config("ca.pem"), exeat.work().join("upstream.pem")).unwrap();
        if let Some((name, text)) = self.program {
            fs::write(exeat.work().join(name), text).unwrap();
        }
        exeat
    }

    /// Says the placeholder first, and the version last.
    fn shell(&self, with_version: bool) -> String {
        let mut script = format!("echo placeholder=\"${}\"\n(set -e\n{}\n)\ncode=$?\n", self.env, self.script);
        if with_version {
            script += &format!("echo\necho version=\"$({{ {}\n}} 2>/dev/null | tail -n 1)\"\n", self.version);
        }
        script += "exit $code\n";
        script.replace("{tools}", tools().to_str().unwrap())
    }
}

/// A server of the tests.
enum Server {
    Api(Upstream),
    Git(GitServer),
    Rpc(Outside),
}

impl Server {
    fn start(kind: Kind, answers: Answers) -> Self {
        match kind {
            Kind::Api => Self::Api(Upstream::answering(answers)),
            Kind::Git => Self::Git(GitServer::start()),
            Kind::Rpc => Self::Rpc(Outside::python(include_str!("../grpc/server.py"))),
        }
    }

    fn dial(&self) -> String {
        match self {
            Self::Api(server) => server.dial(),
            Self::Git(server) => server.dial(),
            Self::Rpc(server) => server.dial(),
        }
    }

    /// Whether this came to it. The git server knows whom it let in, and lets in only who has the password.
    fn saw(&self, proof: &str) -> bool {
        match self {
            Self::Api(server) => server.seen().iter().any(|seen| seen.shows(proof)),
            Self::Git(server) => proof == GitServer::PASSWORD && server.requests().contains("bot \"GET"),
            Self::Rpc(server) => server.read("noted").contains(proof),
        }
    }
}

/// What is behind a mark, on its line.
fn between<'a>(text: &'a str, mark: &str) -> &'a str {
    let line = text.lines().filter_map(|line| line.strip_prefix(mark)).next_back();
    line.unwrap_or_default()
}
