//! Programs that the tests need beside the machine's own; `tests/run` installs them.
//!
//! Enters: `EXEAT_TEST_TOOLS`, or the place where `tests/run` puts them. Leaves: paths, and the output of a command. Never: a
//! test that passes because its client is missing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// The directory with the tools: `venv/` and `node/`.
pub fn tools() -> PathBuf {
    let named = std::env::var_os("EXEAT_TEST_TOOLS").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools")))
}

/// The interpreter whose packages are the Python clients.
pub fn python_tools() -> String {
    installed("venv/bin/python3")
}

/// OpenBao's one program.
pub fn bao_tool() -> String {
    installed("venv/bin/bao")
}

/// SeaweedFS's one program.
pub fn weed_tool() -> String {
    installed("venv/bin/weed")
}

/// The directory whose `node_modules` are the Node programs.
pub fn node_tools() -> String {
    installed("node/node_modules");
    installed("node")
}

/// An address for a server that has to be told to others before it starts. Below the ports that the kernel hands out, and each only
/// once: what was free a moment ago still is. OpenBao takes the port above its own, too.
pub fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        let port = 10_000 + (first + 2 * NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if [port, port + 1].into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return format!("127.0.0.1:{port}");
        }
    }
}

fn installed(path: &str) -> String {
    let path = tools().join(path);
    assert!(path.exists(), "`{}` is missing: `tests/run` installs it", path.display());
    path.to_str().unwrap().to_owned()
}

/// What a command of the machine prints on standard output; it has to succeed.
pub fn output(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output =
        output.unwrap_or_else(|error| panic!("`{}` cannot be run ({error}): `tests/run` installs it", command[0]));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A Python program that opens a WebSocket by hand, to see every byte that comes: a client library keeps the beginning of a
/// message to itself. `open(name, fields)` gives a stream after one message was echoed; `say` sends a message.
pub const WEBSOCKET: &str = "import os, socket, ssl
def say(stream, text):
    stream.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
def open(name, *fields):
    stream = ssl.create_default_context().wrap_socket(socket.create_connection((name, 443)), server_hostname=name)
    stream.settimeout(10)
    head = ['GET /ws HTTP/1.1', 'Host: ' + name, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', *fields, '', '']
    stream.sendall('\\r\\n'.join(head).encode())
    seen = b''
    while not seen.endswith(b'\\r\\n\\r\\n'):
        seen += stream.recv(1)
    say(stream, b'hello')
    assert stream.recv(7) == b'\\x81\\x05hello'
    return stream
def rest(stream):
    seen = b''
    while piece := stream.recv(4096):
        seen += piece
    return seen
";
