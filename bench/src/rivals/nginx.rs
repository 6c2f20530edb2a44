//! nginx, from TLS to TLS.
//!
//! Enters: where the upstream is. Leaves: a configuration file and a running nginx with a port for each version. Never: a log of calls, a
//! body on a disk, a connection upstream that is not verified.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::upstream::Addresses;

use super::authority::Files;
use super::process::{Running, installed, ports};

/// It, and its ports: HTTP/1.1, HTTP/2.
pub fn start(room: &Path, files: &Files, verified: &Path, upstream: &Addresses) -> Result<(Running, [u16; 2]), Error> {
    let program = installed("nginx", "apt-get install nginx-light")?;
    let (file, ports) = (room.join("nginx.conf"), ports()?);
    fs::write(&file, configuration(room, files, verified, upstream, ports)?)?;
    let words = ["-p", &room.to_string_lossy(), "-e", "nginx.err", "-c", &file.to_string_lossy()];
    Ok((Running::foreign(&program, &words, &ports, &room.join("nginx.out"))?, ports))
}

fn configuration(
    room: &Path,
    files: &Files,
    verified: &Path,
    upstream: &Addresses,
    [http1, http2]: [u16; 2],
) -> Result<String, Error> {
    let cores = std::thread::available_parallelism()?.get();
    let passes = format!(
        "    location / {{
      proxy_pass https://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_ssl_name h1.bench.example;
      proxy_ssl_server_name on;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {};
      proxy_ssl_protocols TLSv1.2 TLSv1.3;
    }}",
        verified.display(),
    );
    let between = format!(
        "  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  upstream upstream {{
    server {};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
",
        upstream.http1,
    );
    Ok(whole(room, cores, &(between + &servers([http1, http2], &files.leaf, &passes))))
}

/// A server for HTTP/1.1 and one for both versions, which show `leaf` and do what is `inside`.
pub fn servers([http1, both]: [u16; 2], leaf: &Path, inside: &str) -> String {
    let leaf = leaf.display();
    let server = |listen: String| {
        format!(
            "  server {{
    listen 127.0.0.1:{listen} backlog=4096;
    ssl_certificate {leaf};
    ssl_certificate_key {leaf};
{inside}
  }}"
        )
    };
    [format!("{http1} ssl"), format!("{both} ssl http2")].map(server).join("\n")
}

/// A configuration of so many processes, with what any server here needs, and `servers`.
pub fn whole(room: &Path, processes: usize, servers: &str) -> String {
    // Whoever is not root has no choice, and nginx says so aloud.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("  {of}_temp_path {}/nginx-{of};", room.display()))
        .join("\n");
    format!(
        "{user}
daemon off;
worker_processes {processes};
worker_rlimit_nofile 16384;
pid {}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
{temporary}
  access_log off;
  tcp_nodelay on;
  ssl_protocols TLSv1.2 TLSv1.3;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
{servers}
}}
",
        room.display(),
    )
}
