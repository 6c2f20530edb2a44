//! HAProxy, from TLS to TLS.
//!
//! Enters: where the upstream is. Leaves: a configuration file and a running HAProxy with a port for each version. Never: a log of calls,
//! a connection upstream that is not verified.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::upstream::Addresses;

use super::authority::Files;
use super::process::{Running, installed, ports};

/// It, and its ports: HTTP/1.1, HTTP/2.
pub fn start(room: &Path, files: &Files, verified: &Path, upstream: &Addresses) -> Result<(Running, [u16; 2]), Error> {
    let program = installed("haproxy", "apt-get install haproxy")?;
    let (file, ports) = (room.join("haproxy.cfg"), ports()?);
    fs::write(&file, configuration(files, verified, upstream, ports)?)?;
    let words = ["-db", "-f", &file.to_string_lossy()];
    Ok((Running::foreign(&program, &words, &ports, &room.join("haproxy.out"))?, ports))
}

fn configuration(
    files: &Files,
    verified: &Path,
    upstream: &Addresses,
    [http1, http2]: [u16; 2],
) -> Result<String, Error> {
    let cores = std::thread::available_parallelism()?;
    let (leaf, verified) = (files.leaf.display(), verified.display());
    let pair = |name: &str, port: u16, to: std::net::SocketAddr, version: &str| {
        format!(
            "
frontend {name}
    bind 127.0.0.1:{port} ssl crt {leaf} alpn {version} backlog 4096
    default_backend {name}-upstream
backend {name}-upstream
    server upstream {to} ssl alpn {version} sni str({name}.bench.example) verify required verifyhost {name}.bench.example ca-file {verified}
"
        )
    };
    Ok(format!(
        "global
    nbthread {cores}
    maxconn 4096
defaults
    mode http
    http-reuse always
    timeout connect 10s
    timeout client 5m
    timeout server 5m
{}{}",
        pair("h1", http1, upstream.http1, "http/1.1"),
        pair("h2", http2, upstream.both, "h2"),
    ))
}
