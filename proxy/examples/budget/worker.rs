//! A worker with everything on: ten rules, a credential swapped and scrubbed, the log written before and after.
//!
//! Enters: a directory. Leaves: a list of what was done between one dump of callgrind's and the next. Never: a sandbox; the network namespace
//! that `bench/budget` makes stands for it, in which every address of the name server's leads to the listener.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use broker::{Client, Settings, serve_connection};
use config::{AgentId, Credentials, RoomSettings, Standing};
use proxy::leaf::Authority;
use proxy::serve::{Listeners, Parts, Worker, serve};
use proxy::upstream::Roots;
use record::CallLog;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::ends::{CREDENTIAL, HTTP1, HTTP2, Told, Upstream};
use crate::{Failure, part, pure};

/// What a worker has still to do when its client has the answer is done long before; under callgrind everything takes fifty times as long.
const QUIET: Duration = Duration::from_millis(300);

/// Each part of the network's: what the client is told, how often before (until connections stand, leaves are there and sessions known), and how
/// often in each round that counts.
const DRIVEN: [(&str, &str, u32, u32); 4] = [
    ("HTTP/1.1, a request", "http1", 50, 100),
    ("HTTP/2, a request", "http2", 50, 100),
    ("HTTP/2, a request of a hundred at once", "streams", 500, 1000),
    ("a handshake, its leaf in the cache", "handshake", 5, 20),
];
/// How often each of them is counted. A worker shares out its time by the clock, so a machine that is busy adds to a count.
const ROUNDS: u32 = 4;

/// Rules as in bench/README.md's figures: the one that matters is not among the first.
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
[[allow]]
to = "status.example.net"
[[allow]]
to = "*.names.budget.example"
[[deny]]
to = "api.example.net"
paths = ["/repos/acme/payroll/**"]
[[deny]]
to = "*.budget.example"
paths = ["/internal/**"]
"#;

/// Does every part, `room` being empty.
pub fn count(room: &Path) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut ends = Ends::start(room)?;
    let upstream = ends.hear()?;
    let policy = lay_out(room, &serde_json::from_str(&upstream)?)?;
    let proxy = Serving::begin()?;
    let told = runtime.block_on(worker(room, &policy, proxy.handle()))?;
    ends.tell(&serde_json::to_string(&told)?)?;
    for (name, what, before, times) in DRIVEN {
        ends.ask(&format!("{what} {before}"))?;
        count_ends(&runtime, &proxy, room, part::BEFORE, 1)?;
        for _ in 0..ROUNDS {
            ends.ask(&format!("{what} {times}"))?;
            count_ends(&runtime, &proxy, room, name, times)?;
        }
    }
    let below = room.to_owned();
    runtime.block_on(proxy.handle().spawn(async move { pure::count(&below) }))?
}

fn count_ends(runtime: &Runtime, proxy: &Serving, room: &Path, name: &str, times: u32) -> Result<(), Failure> {
    thread::sleep(QUIET);
    let (room, name) = (room.to_owned(), name.to_owned());
    runtime.block_on(proxy.handle().spawn(async move { part::ends(&room, &name, times) }))?
}

/// The files that people write. Returns the policy's.
fn lay_out(room: &Path, upstream: &Upstream) -> Result<PathBuf, Failure> {
    let rule = |name: &str, dial| {
        format!("[[allow]]\nto = \"{name}\"\ndial = \"{dial}\"\nmethods = [\"GET\"]\ncredential = \"budget\"\n")
    };
    let policy = room.join("budget.toml");
    let rules = format!("{OTHERS}{}{}", rule(HTTP1, upstream.http1), rule(HTTP2, upstream.http2));
    fs::write(&policy, format!("[upstream]\nroots = [\"upstream.pem\"]\n{rules}"))?;
    fs::write(room.join("credential"), CREDENTIAL)?;
    fs::set_permissions(room.join("credential"), Permissions::from_mode(0o600))?;
    let credentials = "[budget]\nissuer = \"fixed\"\nvalue = { file = \"credential\" }\nagents = [\"budget\"]\n\
                       to = [\"*.budget.example\"]\nin = [\"header\"]\nenv = \"BUDGET\"\n";
    fs::write(room.join("credentials.toml"), credentials)?;
    Ok(policy)
}

/// Starts to serve; what the client needs for it.
async fn worker(room: &Path, policy: &Path, proxy: &Handle) -> Result<Told, Failure> {
    let (ours, theirs) = UnixStream::pair()?;
    let settings = Settings::new(Credentials::load(room.join("credentials.toml"))?);
    // A process of its own otherwise; so it is not counted.
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(serve_connection(theirs, settings)))
    });
    let broker = {
        let _proxy = proxy.enter();
        Client::from_stream(ours)?
    };
    let registration = broker.register(&"budget".parse::<AgentId>()?).await?;
    let placeholder = registration.grants.first().ok_or("nothing is granted")?.1.value().to_owned();
    let policy = Arc::new(Standing::load(policy)?);
    let roots = Roots::read(policy.current().extra_roots())?;
    let authority = Authority::generate(SystemTime::now())?;
    let directory = room.join("worker");
    DirBuilder::new().mode(0o700).create(&directory)?;
    let (log, room) = (Arc::new(CallLog::create(&directory)?), RoomSettings::default());
    let ca = authority.pem().to_owned();
    let (stop, stopped) = watch::channel(false);
    let worker =
        Worker::new(Parts { policy, authority, roots, broker, registration, log, room, give_back: || {} }, stopped);
    let (tcp, names) = (TcpListener::bind("0.0.0.0:443")?, UdpSocket::bind("127.0.0.1:0")?);
    let told = Told { placeholder, ca, names: names.local_addr()? };
    proxy.spawn(async move {
        // For as long as it serves nobody stops it.
        let _stop = stop;
        serve(worker, Listeners { tcp: vec![tcp], dns_udp: vec![names], dns_tcp: Vec::new() }).await
    });
    Ok(told)
}

/// The thread that the proxy has, as in `exeat run`.
struct Serving(Handle);

impl Serving {
    fn begin() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self(handle))
    }

    fn handle(&self) -> &Handle {
        &self.0
    }
}

/// The process with client and upstream, which ends with this one.
struct Ends {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Ends {
    fn start(room: &Path) -> Result<Self, Failure> {
        // Under valgrind the program's own path is what it was started with; a child is followed by nobody.
        let mut command = Command::new(std::env::args().next().unwrap_or_default());
        command.arg("ends").arg(room).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let (orders, answers) = (process.stdin.take(), process.stdout.take());
        match (orders, answers) {
            (Some(orders), Some(answers)) => Ok(Self { process, orders, answers: BufReader::new(answers) }),
            _ => Err("the other ends cannot be spoken to".into()),
        }
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.orders, "{line}")?)
    }

    fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, order: &str) -> Result<(), Failure> {
        self.tell(order)?;
        match &*self.hear()? {
            "done" => Ok(()),
            failed => Err(format!("{order}: {failed}").into()),
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
