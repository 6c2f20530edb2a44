//! Who stands at the other end: our own server, which does no more than has to be done, or nginx, as people run it: with files to be had,
//! and, for what is uploaded, an application behind it, which is our own server again.
//!
//! Enters: where the authority's certificate goes. Leaves: a server that stands, and where. Never: one that outlives its value, or an
//! answer of nginx's that shows a credential.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::identity::Identity;
use crate::payload;
use crate::rivals::nginx::{servers, whole};
use crate::rivals::process::{Running, installed, ports};
use crate::tree;
use crate::upstream::{Addresses, CREDENTIAL, Listens};

/// For nginx's process that serves.
const WAIT: Duration = Duration::from_secs(5);
/// How long the bodies are that nginx has.
const BODIES: [usize; 3] = [1 << 10, payload::PIECE, 10 << 20];

/// A server, which ends when this is dropped.
pub struct Served {
    process: u32,
    _running: Kind,
    /// Where it listens.
    pub addresses: Addresses,
}

#[expect(dead_code, reason = "what is in it ends when it is dropped")]
enum Kind {
    Own(Own),
    Nginx(Running, Own),
}

/// It ends with its standard input.
struct Own(Child);

impl Served {
    /// The process that serves, for its clock.
    pub fn process(&self) -> u32 {
        self.process
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Our own.
pub fn own(authority: &Path) -> Result<Served, Error> {
    served(Command::new(std::env::current_exe()?), authority)
}

/// Our own, which leaves a core to whoever else wants one.
pub fn background(authority: &Path) -> Result<Served, Error> {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(std::env::current_exe()?);
    served(command, authority)
}

fn served(program: Command, authority: &Path) -> Result<Served, Error> {
    let (own, Listens { addresses, .. }) = start(program, authority)?;
    Ok(Served { process: own.0.id(), _running: Kind::Own(own), addresses })
}

fn start(mut command: Command, authority: &Path) -> Result<(Own, Listens), Error> {
    command.arg("upstream").arg("--authority").arg(authority).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut own = Own(command.spawn()?);
    let out = own.0.stdout.take().ok_or_else(|| Error::new("the upstream has no standard output"))?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let listens = serde_json::from_str(&line).map_err(|error| Error::from(error).during("starting the upstream"))?;
    Ok((own, listens))
}

/// nginx with one process, files of 1 KiB, 1 MiB and 10 MiB, and somebody behind it who takes what is sent.
pub fn nginx(authority: &Path) -> Result<Served, Error> {
    let program = installed("nginx", "apt-get install nginx-light")?;
    let room = authority.with_extension("nginx");
    fs::create_dir(&room)?;
    let identity = Identity::generate()?;
    let leaf = room.join("leaf.pem");
    fs::write(authority, &identity.authority)?;
    fs::write(&leaf, identity.leaf())?;
    let text = payload::text();
    for directory in ["open", "guarded"].map(|name| room.join("files").join(name)) {
        fs::create_dir_all(&directory)?;
        for bytes in BODIES {
            let body: Vec<u8> = text.iter().copied().cycle().take(bytes).collect();
            fs::write(directory.join(bytes.to_string()), body)?;
        }
    }
    let ports: [u16; 2] = ports()?;
    let (application, Listens { plain, .. }) = start(Command::new(std::env::current_exe()?), &room.join("unused.pem"))?;
    let gives = format!(
        "    root {};
    if ($request_method = POST) {{ rewrite ^ /application$uri last; }}
    location /open/ {{ }}
    location /guarded/ {{
      if ($http_authorization != \"Bearer {CREDENTIAL}\") {{ return 401; }}
    }}
    location /application/ {{
      internal;
      proxy_pass http://{plain}/;
      proxy_http_version 1.1;
      proxy_request_buffering off;
    }}",
        room.join("files").display(),
    );
    let servers = servers(ports, &leaf, &gives);
    let about = "  types { }\n  default_type application/json;\n  sendfile off;\n  open_file_cache max=100;\n";
    let file = room.join("nginx.conf");
    fs::write(&file, whole(&room, 1, &format!("{about}{servers}")))?;
    let words = ["-p", &room.to_string_lossy(), "-e", "nginx.err", "-c", &file.to_string_lossy()];
    let running = Running::foreign(&program, &words, &ports, &room.join("nginx.out"))?;
    let [http1, both] = ports;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let process = serving(&running)?;
    Ok(Served {
        process,
        _running: Kind::Nginx(running, application),
        addresses: Addresses { http1: at(http1), both: at(both) },
    })
}

/// The process of `nginx` that serves; it listens before it has one.
fn serving(nginx: &Running) -> Result<u32, Error> {
    let end = Instant::now() + WAIT;
    loop {
        match tree::children(nginx.process())?[..] {
            [process] => return Ok(process),
            _ if Instant::now() > end => return Err(Error::new("nginx has no process that serves")),
            _ => sleep(WAIT / 1000),
        }
    }
}
