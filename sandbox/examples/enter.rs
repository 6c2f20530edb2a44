//! Runs a command in a sandbox whose one way out leads to a server that only tells where the client wanted to go.
//!
//!     enter [--write DIR] [--overlay DIR=LAYER] [--read PATH] [--hide DIR] [--nested] [--conceal PATH] [--home DIR] [--show-secrets] [--port N] [--ports-only] [--memory BYTES] [--processes N] [--files N] [--cpus X]
//!           [--file-size BYTES] [--disk BYTES] [--required] [--met] [--terminate-after SECONDS]
//!           [--env NAME=VALUE] [--home-file PATH=TEXT] [--ca FILE] [--status] [--kill-after SECONDS] [--lock-in] -- COMMAND …
//!
//! The tests of this crate are clients of it, for a sandbox wants a process of one thread. Exit codes as a shell's; 125 when
//! the sandbox itself fails.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "an example may print")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sandbox::{
    Capture, CaptureChoice, ErrorKind, HomeFile, Lacking, Layered, Limits, Reach, Running, Sockets, Spec, Trust,
};
use std::{
    error::Error,
    ffi::{OsStr, OsString},
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::ExitCode,
    thread,
    time::Duration,
};

struct Wish {
    spec: Spec,
    authority: String,
    environment: Vec<(OsString, OsString)>,
    files: Vec<HomeFile>,
    status: bool,
    met: bool,
    terminate_after: Option<i64>,
    kill_after: Option<i64>,
    lock_in: bool,
}

fn main() -> ExitCode {
    match wish().and_then(run) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("enter: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  caused by: {cause}");
                source = cause.source();
            }
            let ours = error.downcast_ref::<sandbox::Error>();
            if let Some(hint) = ours.and_then(sandbox::Error::hint) {
                eprintln!("  hint: {hint}");
            }
            ExitCode::from(match ours.map(sandbox::Error::kind) {
                Some(ErrorKind::NotFound) => 127,
                Some(ErrorKind::NotExecutable) => 126,
                _ => 125,
            })
        }
    }
}

fn run(wish: Wish) -> Result<u8, Box<dyn Error>> {
    let preparing = sandbox::begin(&wish.spec)?;
    preparing.trust(&wish.authority)?;
    let bolt = preparing.bolt(&Reach::default());
    let mut prepared = preparing.finish()?;
    if wish.status {
        eprintln!("{}", serde_json::to_string(prepared.status())?);
    }
    if wish.lock_in {
        let lock = prepared.lock_in(bolt, Lacking::Refuse)?;
        eprintln!("{}", serde_json::to_string(&lock)?);
    }
    serve(prepared.take_sockets());
    let mut running = prepared.start(wish.environment, wish.files)?;
    let over = |running: &Running, tv_sec| {
        poll(&mut [PollFd::new(running, PollFlags::IN)], Some(&Timespec { tv_sec, tv_nsec: 0 }))
    };
    if let Some(seconds) = wish.terminate_after
        && over(&running, seconds)? == 0
    {
        running.terminate()?;
    }
    if let Some(seconds) = wish.kill_after
        && over(&running, seconds)? == 0
    {
        running.kill()?;
    }
    let exit = running.wait()?;
    if wish.met {
        let met = running.met();
        eprintln!("{}", serde_json::to_string(&met)?);
        eprintln!("ended by {:?}, others {:?}", met.ended(exit), met.others(exit));
    }
    Ok(exit.code())
}

fn wish() -> Result<Wish, Box<dyn Error>> {
    let mut wish = Wish {
        spec: Spec {
            command: Vec::new(),
            working_directory: std::env::current_dir()?,
            read: Vec::new(),
            write: Vec::new(),
            limits: Limits::default(),
            trust: Trust { system_bundle: Some("/etc/ssl/certs/ca-certificates.crt".into()) },
            ports: [80, 443].into(),
            overlay: Vec::new(),
            hide: Vec::new(),
            relied_on: Vec::new(),
            conceal: Vec::new(),
            home: None,
            find_secrets: true,
            nested: false,
            capture: CaptureChoice::Best,
        },
        environment: vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME".into(), sandbox::HOME.into()),
        ],
        files: Vec::new(),
        authority: String::new(),
        status: false,
        met: false,
        terminate_after: None,
        kill_after: None,
        lock_in: false,
    };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or("an option without its value");
        let number = |text: OsString| text.into_string().map_err(|_| "not a number");
        let Wish { spec, .. } = &mut wish;
        match option.to_str().unwrap_or_default() {
            "--write" => spec.write.push(value()?.into()),
            "--hide" => spec.hide.push(value()?.into()),
            "--overlay" => {
                let (tree, layer) = pair(&value()?)?;
                let [tree, layer] = [tree, layer].map(|path| OsString::from_vec(path).into());
                spec.overlay.push(Layered { tree, layer });
            }
            "--conceal" => spec.conceal.push(value()?.into()),
            "--home" => spec.home = Some(value()?.into()),
            "--show-secrets" => spec.find_secrets = false,
            "--read" => spec.read.push(value()?.into()),
            "--port" => drop(spec.ports.insert(number(value()?)?.parse()?)),
            "--ports-only" => spec.capture = CaptureChoice::Ports,
            "--nested" => spec.nested = true,
            "--memory" => spec.limits.memory = Some(number(value()?)?.parse()?),
            "--processes" => spec.limits.processes = Some(number(value()?)?.parse()?),
            "--file-size" => spec.limits.file_size = Some(number(value()?)?.parse()?),
            "--disk" => spec.limits.disk = Some(number(value()?)?.parse()?),
            "--required" => spec.limits.required = true,
            "--met" => wish.met = true,
            "--terminate-after" => wish.terminate_after = Some(number(value()?)?.parse()?),
            "--files" => spec.limits.files = number(value()?)?.parse()?,
            "--cpus" => spec.limits.cpus = Some(number(value()?)?.parse()?),
            "--ca" => wish.authority = fs::read_to_string(value()?)?,
            "--status" => wish.status = true,
            "--lock-in" => wish.lock_in = true,
            "--kill-after" => wish.kill_after = Some(number(value()?)?.parse()?),
            "--env" => {
                let (name, value) = pair(&value()?)?;
                wish.environment.push((OsString::from_vec(name), OsString::from_vec(value)));
            }
            "--home-file" => {
                let (path, bytes) = pair(&value()?)?;
                wish.files.push(HomeFile { path: OsString::from_vec(path).into(), bytes, mode: 0o600 });
            }
            "--trust-env" => {
                let variables = sandbox::trust_environment().into_iter();
                wish.environment.extend(variables.map(|(name, value)| (name.into(), value.into())));
            }
            "--" => {
                spec.command = arguments.collect();
                break;
            }
            other => return Err(format!("no such option: {other}").into()),
        }
    }
    Ok(wish)
}

fn pair(text: &OsStr) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let cut = text.as_bytes().iter().position(|&byte| byte == b'=').ok_or("there is no `=` in it")?;
    let (name, value) = text.as_bytes().split_at(cut);
    Ok((name.to_vec(), value[1..].to_vec()))
}

fn serve(sockets: Sockets) {
    let redirected = sockets.capture == Capture::Redirect;
    for listener in sockets.tcp {
        thread::spawn(move || answer_connections(&listener, redirected));
    }
    for socket in sockets.dns_udp {
        thread::spawn(move || answer_queries(&socket));
    }
    for listener in sockets.dns_tcp {
        thread::spawn(move || answer_connections(&listener, redirected));
    }
}

/// Every client is told the address it wanted, as an HTTP response so that curl prints it.
fn answer_connections(listener: &TcpListener, redirected: bool) {
    for mut stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let Some(wanted) = wanted(&stream, redirected) else { return };
            let _timed = stream.set_read_timeout(Some(Duration::from_millis(300)));
            let _request = stream.read(&mut [0; 4096]);
            let text = format!("wanted {wanted}\n");
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
            let _gone = stream.write_all([head, text].concat().as_bytes());
        });
    }
}

fn wanted(stream: &TcpStream, redirected: bool) -> Option<SocketAddr> {
    if !redirected {
        return stream.local_addr().ok();
    }
    let socket = socket2::SockRef::from(stream);
    let original =
        if stream.local_addr().ok()?.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    original.ok()?.as_socket()
}

/// Every name is 198.18.0.9; there is nothing else to know about it.
fn answer_queries(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        let Some((header, rest)) = query[..length].split_first_chunk::<12>() else { continue };
        let Some(end) = rest.iter().position(|&byte| byte == 0).map(|zero| zero + 5) else { continue };
        let Some(question) = rest.get(..end) else { continue };
        let is_address = question.ends_with(&[0, 1, 0, 1]);
        let mut answer = vec![header[0], header[1], 0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
        answer.extend(question);
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 198, 18, 0, 9]);
        }
        let _gone = socket.send_to(&answer, client);
    }
}
