//! A worker as an attacker would have it who has taken it over: locked in, with a runtime, open sockets and its log, it tries whatever it
//! must not be able to, and then what it has to be.
//!
//!     locked [--unlocked] DIR VICTIM ADDRESS
//!
//! DIR is what the test has put up, VICTIM the number of another process of this user, ADDRESS a server's. Prints a line for each attempt on each kind of
//! thread: `KIND NAME done` or `KIND NAME refused ERRNO`. Only numbers and names are printed, as the test compares them.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "an example may print")]

use rustix::{
    fs::{Mode, OFlags, chmod, fcntl_getfl, fcntl_setfl, symlink},
    mount::{MountFlags, mount},
    net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with},
    process::{
        DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, kill_current_process_group, kill_process,
        pidfd_open, prlimit, set_dumpable_behavior, setpriority_process, setrlimit,
    },
};
use sandbox::{Lacking, Reach, attempt, fork_process};
use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    os::unix::{fs::OpenOptionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

/// What a fork has at the same address.
static SECRET: u8 = 42;

struct Target {
    directory: PathBuf,
    victim: Pid,
    broker: Pid,
    address: String,
    log: File,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let unlocked = arguments.first().is_some_and(|first| first == "--unlocked");
    arguments.drain(..usize::from(unlocked));
    let [directory, victim, address] = <[String; 3]>::try_from(arguments).map_err(|_| "DIR VICTIM ADDRESS")?;
    let directory = PathBuf::from(directory);
    let pid = |number: &str| number.parse().ok().and_then(Pid::from_raw).ok_or("not a process number");

    // A broker beside it, as `exeat run` has one: it ends with this connection, and its memory is closed.
    let mut pair = Some(UnixStream::pair()?);
    let broker = fork_process(|| match pair.take() {
        Some((ours, theirs)) => {
            drop(ours);
            u8::from(sandbox::close_memory().and_then(|()| wait_for_end(theirs)).is_err())
        }
        None => 1,
    })?;
    let number = broker.id();
    broker.detach();
    let _connection = pair.take().map(|(ours, _)| ours);
    let own = directory.join("state/workers/own");
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(own.join("calls.jsonl"))?;
    (&log).write_all(b"{\"seq\":1}\n")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let reach = Reach {
        read: vec![directory.join("config/agents")],
        clear: vec![own.join("orders")],
        apart: vec![directory.join("config"), directory.join("state")],
    };
    // As `exeat run` has one before: it makes what all runtimes of a process share.
    let _own = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if !unlocked {
        let begun = Instant::now();
        let lock = sandbox::lock_in(&reach, Lacking::Refuse)?;
        println!("locked {} in {} µs", serde_json::to_string(&lock)?, begun.elapsed().as_micros());
    }
    let target = Arc::new(Target { directory, victim: pid(&victim)?, broker: pid(&number.to_string())?, address, log });
    everywhere(&target, listener)
}

fn wait_for_end(mut connection: UnixStream) -> io::Result<()> {
    connection.read_to_end(&mut Vec::new()).map(drop)
}

/// From the thread that locked itself in, and from one of each kind that began afterwards.
fn everywhere(target: &Arc<Target>, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    try_all("main", target);
    let on = |kind: &'static str| {
        let target = Arc::clone(target);
        move || try_all(kind, &target)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let at_work = on("runtime");
        tokio::spawn(async move { at_work() }).await?;
        tokio::task::spawn_blocking(on("blocking")).await?;
        // A connection each way, as the proxy has them.
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (accepted, connected) =
            tokio::join!(listener.accept(), tokio::net::TcpStream::connect(listener.local_addr()?));
        println!("runtime serve {}", told(accepted.and(connected.map(drop))));
        let found = tokio::net::lookup_host(("localhost", 80)).await;
        println!("runtime look-up {}", told(found.map(drop)));
        Ok::<_, io::Error>(())
    })?;
    std::thread::Builder::new().name("plain".to_owned()).spawn(on("plain"))?.join().map_err(|_| "a thread panicked")?;
    needs(target);
    Ok(())
}

/// What a worker has to be able to do.
fn needs(target: &Target) {
    let at = |path: &str| target.directory.join(path);
    let needs: [(&str, io::Result<()>); 6] = [
        ("policy", read(&at("config/agents/bot.toml"))),
        ("asked-to-stop", read(&at("state/workers/own/orders/stop"))),
        ("has-stopped", fs::remove_file(at("state/workers/own/orders/stop"))),
        ("log", (&target.log).write_all(b"{\"seq\":2}\n").and_then(|()| target.log.sync_data())),
        ("connect", TcpStream::connect(&target.address).map(drop)),
        ("address", ("127.0.0.1", 80).to_socket_addrs().map(drop)),
    ];
    for (name, outcome) in needs {
        println!("needs {name} {}", told(outcome));
    }
}

fn try_all(kind: &str, target: &Target) {
    for (name, outcome) in attempts(target) {
        println!("{kind} {name} {}", told(outcome));
    }
}

fn told(outcome: io::Result<()>) -> String {
    match outcome {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("refused {}", error.raw_os_error().unwrap_or_default()),
    }
}

fn read(path: &Path) -> io::Result<()> {
    File::open(path)?.read_exact(&mut [0; 1])
}

/// The outcomes of everything that a worker which was taken over would try, in this order.
fn attempts(target: &Target) -> Vec<(&'static str, io::Result<()>)> {
    let Target { directory, victim, broker, log, .. } = target;
    let (victim, broker) = (*victim, *broker);
    let at = |path: &str| directory.join(path);
    let open = |family, kind, protocol: Option<Protocol>| -> io::Result<()> {
        Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol).map(drop)?)
    };
    let proc = |pid: Pid, file: &str| read(Path::new(&format!("/proc/{}/{file}", pid.as_raw_nonzero())));
    let writing = |path: &str| OpenOptions::new().write(true).open(at(path)).map(drop);
    let limit = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    vec![
        // Secrets of the house, and of the user.
        ("credentials", read(&at("config/credentials.toml"))),
        ("broker-secret", read(&at("config/secrets/api-key"))),
        ("ledger-key", read(&at("state/ledger.key"))),
        ("broker-key", read(&at("run/exeat.sock.key"))),
        ("ssh-key", read(&at("home/.ssh/id_rsa"))),
        ("another-log", read(&at("state/workers/other/calls.jsonl"))),
        ("list-workers", fs::read_dir(at("state/workers")).map(drop)),
        (
            "by-way-of-proc",
            read(
                &Path::new("/proc/self/root")
                    .join(at("config/credentials.toml").strip_prefix("/").unwrap_or(Path::new(""))),
            ),
        ),
        // What decides, and what was recorded.
        ("write-policy", writing("config/agents/bot.toml")),
        ("new-policy", File::create(at("config/agents/new.toml")).map(drop)),
        ("new-file", File::create(at("state/workers/own/new")).map(drop)),
        ("new-order", File::create(at("state/workers/own/orders/new")).map(drop)),
        ("new-directory", fs::create_dir(at("state/workers/own/directory"))),
        ("link", symlink("/", at("state/workers/own/link")).map_err(Into::into)),
        ("hard-link", fs::hard_link(at("config/agents/bot.toml"), at("state/workers/own/hard"))),
        ("rename", fs::rename(at("state/workers/own/worker.json"), at("state/workers/own/renamed.json"))),
        ("chmod", chmod(at("state/workers/own/calls.jsonl"), Mode::RWXU).map_err(Into::into)),
        ("remove-policy", fs::remove_file(at("config/agents/doomed.toml"))),
        ("reopen-log", writing("state/workers/own/calls.jsonl")),
        ("cut-log-short", log.set_len(0)),
        ("overwrite-log", overwrite(log)),
        ("remove-log", fs::remove_file(at("state/workers/own/calls.jsonl"))),
        ("nameless-file", attempt::make_nameless_file().map_err(Into::into)),
        // Other processes.
        ("shell", Command::new("/bin/true").status().map(drop)),
        ("become-another-program", become_another()),
        ("fork-into-a-namespace", attempt::spawn_into_user_namespace().map_err(Into::into)),
        ("broker-memory", proc(broker, "mem").or_else(|_| proc(broker, "maps"))),
        ("broker-environment", proc(broker, "environ")),
        ("victim-environment", proc(victim, "environ")),
        ("read-broker", attempt::read_memory(broker, &SECRET).map(drop).map_err(Into::into)),
        ("trace-broker", attempt::trace(broker).map_err(Into::into)),
        ("trace-victim", attempt::trace(victim).map_err(Into::into)),
        ("take-hold-of-victim", pidfd_open(victim, PidfdFlags::empty()).map(drop).map_err(Into::into)),
        ("signal-broker", kill_process(broker, Signal::CONT).map_err(Into::into)),
        ("signal-victim", kill_process(victim, Signal::CONT).map_err(Into::into)),
        ("signal-parent", kill_process(getppid().unwrap_or(victim), Signal::CONT).map_err(Into::into)),
        ("signal-job", kill_current_process_group(Signal::CONT).map_err(Into::into)),
        ("limit-victim", prlimit(Some(victim), Resource::Core, limit).map(drop).map_err(Into::into)),
        ("slow-victim", setpriority_process(Some(victim), 1).map_err(Into::into)),
        // Ways around the network's rules, and to services of the machine.
        ("unix-socket", UnixStream::connect(at("run/docker.sock")).map(drop)),
        ("socket-pair", UnixStream::pair().map(drop)),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("listen-udp", std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("netlink", open(AddressFamily::NETLINK, SocketType::DGRAM, None)),
        ("packet", open(AddressFamily::PACKET, SocketType::DGRAM, None)),
        ("raw", open(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))),
        ("vsock", open(AddressFamily::VSOCK, SocketType::STREAM, None)),
        // The kernel.
        ("mount", mount("none", at("home"), "tmpfs", MountFlags::empty(), None).map_err(Into::into)),
        ("io-uring", attempt::set_up_io_uring().map_err(Into::into)),
        ("bpf", attempt::make_bpf_map().map_err(Into::into)),
        ("key", attempt::add_key("exeat-locked").map_err(Into::into)),
        ("faults", attempt::handle_page_faults().map_err(Into::into)),
        ("executable-memory", attempt::map_executable_memory().map_err(Into::into)),
        ("data-becomes-code", attempt::make_memory_executable().map_err(Into::into)),
        // Its own lock.
        ("core-dumps", setrlimit(Resource::Core, limit).map_err(Into::into)),
        ("dumpable", set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into)),
    ]
}

/// A program that is not there would have been executed.
fn become_another() -> io::Result<()> {
    let error = Command::new("/nonexistent/exeat-locked").exec();
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The log is open for appending; without that it could be written from its beginning.
fn overwrite(log: &File) -> io::Result<()> {
    let flags = fcntl_getfl(log)?;
    fcntl_setfl(log, flags - OFlags::APPEND)?;
    let mut log = log;
    log.rewind()?;
    log.write_all(b"x")?;
    Ok(fcntl_setfl(log, flags)?)
}
