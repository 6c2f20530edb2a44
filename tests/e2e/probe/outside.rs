//! The battery where walls are missing, and something to be reached by it.
//!
//! Enters: a command that stands in the sandbox's place, and the fields of a brief. Leaves: findings. Never: a sandbox of exeat's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::binary;

/// The word of the canaries.
pub const WORD: &str = "a-word-of-the-sabotage";

/// What was found, by the attempt's name.
#[derive(Debug, Default)]
pub struct Findings(pub BTreeMap<String, (String, String)>);

impl Findings {
    /// From the battery's lines, or the `findings` of a document.
    pub fn of(findings: impl Iterator<Item = Value>) -> Self {
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let entry = |finding: Value| (text(&finding, "id"), (text(&finding, "verdict"), text(&finding, "seen")));
        Self(findings.map(entry).collect())
    }

    /// The attempts with this verdict.
    pub fn with(&self, verdict: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, (own, _))| own == verdict).map(|(id, _)| id.as_str()).collect()
    }

    /// The verdict of one.
    pub fn verdict(&self, id: &str) -> &str {
        &self.0.get(id).unwrap_or_else(|| panic!("{id} was not tried: {self:#?}")).0
    }
}

/// A machine with canaries, of which the battery is told.
pub struct Outside {
    directory: TempDir,
    brief: Value,
    /// What takes datagrams.
    _taking: [UnixDatagram; 2],
    /// Before the battery's own command.
    wrapper: Vec<String>,
}

impl Outside {
    /// One with a canary of every kind.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (listener, datagrams) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let (tcp, udp) = (listener.local_addr().unwrap(), datagrams.local_addr().unwrap());
        greet(listener);
        std::thread::spawn(move || {
            let mut text = [0; 100];
            while let Ok((length, from)) = datagrams.recv_from(&mut text) {
                let _ = datagrams.send_to(&text[..length], from);
            }
        });
        let name = format!("{WORD}-{}", directory.path().display());
        let socket = directory.path().join("socket");
        greet_unix(UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap());
        greet_unix(UnixListener::bind(&socket).unwrap());
        let (datagram_name, datagram_socket) = (format!("{name}-datagrams"), directory.path().join("datagrams"));
        let taking = [
            UnixDatagram::bind_addr(&UnixAddress::from_abstract_name(&datagram_name).unwrap()).unwrap(),
            UnixDatagram::bind(&datagram_socket).unwrap(),
        ];
        let file = directory.path().join("file");
        fs::write(&file, WORD).unwrap();
        let machine: Vec<SocketAddr> = vec![tcp];
        let brief = json!({
            "nonce": WORD,
            "canaries": {
                "loopback": [tcp],
                "machine": machine,
                "datagrams": [udp],
                "abstract_socket": name,
                "socket": socket,
                "datagram_name": datagram_name,
                "datagram_socket": datagram_socket,
                "temporary": [file],
                "secret": file,
                "key": null,
            },
            "broker": socket,
            "own_files": [file],
            "own_directories": [directory.path()],
            "namespaces": [["net", link("net")], ["mnt", link("mnt")]],
            "port": 443,
            "unlisted": "nobody.invalid",
        });
        Self { directory, brief, wrapper: Vec::new(), _taking: taking }
    }

    /// Adds to the brief.
    pub fn told(mut self, fields: Value) -> Self {
        let Value::Object(fields) = fields else { panic!("{fields} is no object") };
        for (name, value) in fields {
            self.brief[name] = value;
        }
        self
    }

    /// The canaries of the brief, with another field.
    pub fn canaries_with(&self, field: &str, value: Value) -> Value {
        let mut canaries = self.brief["canaries"].clone();
        canaries[field] = value;
        json!({ "canaries": canaries })
    }

    /// Runs the battery by way of another command.
    pub fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// A path of its own.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Makes every attempt.
    #[track_caller]
    pub fn battery(&self) -> Findings {
        let mut words = self.wrapper.clone();
        words.extend([binary(), "probe-inside".to_owned(), "x".to_owned()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.directory.path());
        let brief = self.path("brief.json");
        fs::write(&brief, self.brief.to_string()).unwrap();
        let output = command.stdin(fs::File::open(brief).unwrap()).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {stdout}{stderr}");
        Findings::of(stdout.lines().map(|line| serde_json::from_str(line).unwrap()))
    }
}

/// A namespace of the tests' own.
fn link(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

fn greet(listener: TcpListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(WORD.as_bytes());
        }
    });
}

/// Here the client speaks first.
fn greet_unix(listener: UnixListener) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 256]).and_then(|_| stream.write(WORD.as_bytes()));
        }
    });
}
