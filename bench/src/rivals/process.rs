//! A rival's process, from both sides.
//!
//! Enters: a command, and where it is going to listen. Leaves: a process that takes connections, ended when it is dropped. Never: a wait
//! without an end, nor a process that outlives whoever started it.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::Error;

/// Until a rival takes connections, and until it has ended: Python takes seconds.
const WAIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// One that runs.
pub struct Running(Child);

impl Running {
    /// Starts one of our own, which says where it listens.
    pub fn own(words: &[&str]) -> Result<(Self, SocketAddr), Error> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or_else(|| Error::new("no standard output"))?;
        let running = Self(child);
        BufReader::new(out).read_line(&mut line)?;
        Ok((running, serde_json::from_str(&line)?))
    }

    /// Starts `program` with `words`, and waits until it listens on all of `ports`. What it has to say it writes to `said`.
    pub fn foreign(program: &Path, words: &[&str], ports: &[u16], said: &Path) -> Result<Self, Error> {
        let out = std::fs::File::create(said)?;
        // It gets its SIGTERM also when this process is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program).args(words);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let mut running = Self(command.spawn()?);
        let end = Instant::now() + WAIT;
        for &port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                if running.0.try_wait()?.is_some() || Instant::now() > end {
                    let said = std::fs::read_to_string(said).unwrap_or_default();
                    return Err(Error::new(format!("`{}` does not listen: {}", program.display(), said.trim())));
                }
                sleep(LOOK);
            }
        }
        Ok(running)
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(process) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(process), Signal::SIGTERM);
        }
        let end = Instant::now() + WAIT;
        while self.0.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            sleep(LOOK);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our own rivals: listens, says where, does `work` until standard input ends.
pub fn serve<F: Future<Output = Result<(), Error>>>(
    work: impl FnOnce(tokio::net::TcpListener) -> F,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        crate::say(&serde_json::to_string(&listener.local_addr()?)?)?;
        tokio::select! {
            done = work(listener) => done,
            _ = end => Ok(()),
        }
    })
}

/// Where `program` is, or how to install it.
pub fn installed(program: &str, package: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // What only root runs is not in everybody's path.
    let places = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    let found = places.map(|place| place.join(program)).find(|file| file.is_file());
    found.ok_or_else(|| Error::new(format!("`{program}` is missing, which exeat is compared with: {package}")))
}

/// Ports that nobody listens on, for those who cannot choose one themselves and say which.
pub fn ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
