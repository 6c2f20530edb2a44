//! A git server as people run it: nginx with TLS and Basic authentication in front of git-http-backend.
//!
//! Enters: nothing. Leaves: an address, and a bare repository that accepts pushes from whoever knows the password. Never: a
//! process that outlives the test.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::authority::Authority;
use super::tools::output;
use super::within;

/// The server.
pub struct GitServer {
    directory: TempDir,
    port: u16,
    processes: Vec<Child>,
}

impl GitServer {
    /// The password of the user `bot`, which only the broker may know.
    pub const PASSWORD: &str = "git-password-c81e728d9d4c2f636f06";

    /// Starts with the repository `acme/site.git`, which has one commit with the file `README`.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (bare, seed) = (path("repos/acme/site.git"), path("seed"));
        output(&["git", "init", "-q", "--bare", "-b", "main", &bare]);
        output(&["git", "-C", &bare, "config", "http.receivepack", "true"]);
        output(&["git", "init", "-q", "-b", "main", &seed]);
        fs::write(directory.path().join("seed/README"), "hello\n").unwrap();
        let seeded = |command: &[&str]| {
            output(
                &[&["git", "-C", &seed, "-c", "user.name=seed", "-c", "user.email=seed@example.com"], command].concat(),
            )
        };
        seeded(&["add", "README"]);
        seeded(&["commit", "-q", "-m", "first"]);
        seeded(&["push", "-q", &bare, "main"]);

        let (certificate, key) = Authority::trusted().identity(&["git.example.com"]).pem();
        fs::write(directory.path().join("cert.pem"), certificate).unwrap();
        fs::write(directory.path().join("key.pem"), key).unwrap();
        fs::write(directory.path().join("users"), format!("bot:{{PLAIN}}{}\n", Self::PASSWORD)).unwrap();
        // Free when asked; should another take it before nginx does, the test fails and says so.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        fs::write(directory.path().join("nginx.conf"), configuration(directory.path().to_str().unwrap(), port))
            .unwrap();

        let mut server = Self { directory, port, processes: Vec::new() };
        let socket = format!("unix:{}", server.path("cgi.sock").display());
        server.spawn(Command::new(program("fcgiwrap")).args(["-s", &socket]));
        within(Duration::from_secs(10), "the socket of fcgiwrap", || server.path("cgi.sock").exists());
        let (prefix, file) = (server.path(""), server.path("nginx.conf"));
        server
            .spawn(Command::new(program("nginx")).arg("-p").arg(prefix).arg("-c").arg(file).args(["-e", "error.log"]));
        within(Duration::from_secs(10), "nginx", || std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok());
        server
    }

    fn spawn(&mut self, command: &mut Command) {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.processes.push(child.unwrap_or_else(|error| panic!("{command:?} ({error}): `tests/run` installs it")));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// For a rule's `dial`.
    pub fn dial(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The subjects of the commits on the server's `main`, newest first.
    pub fn subjects(&self) -> Vec<String> {
        let bare = self.path("repos/acme/site.git");
        let log = output(&["git", "-C", bare.to_str().unwrap(), "log", "--format=%s", "main"]);
        log.lines().map(str::to_owned).collect()
    }

    /// What nginx was asked, a line each with the user that it found in Basic.
    pub fn requests(&self) -> String {
        fs::read_to_string(self.path("access.log")).unwrap_or_default()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Debian keeps servers where an ordinary user's PATH does not look.
fn program(name: &str) -> PathBuf {
    let places =
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(|place| PathBuf::from(place).join(name));
    let found = places.into_iter().find(|place| place.exists());
    found.unwrap_or_else(|| panic!("`{name}` is missing: `tests/run` installs it"))
}

fn configuration(directory: &str, port: u16) -> String {
    let backend = format!("{}/git-http-backend", output(&["git", "--exec-path"]));
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    log_format asked '$remote_user \"$request\" $status';
    access_log access.log asked;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        location / {{
            auth_basic git;
            auth_basic_user_file users;
            fastcgi_pass unix:{directory}/cgi.sock;
            fastcgi_param SCRIPT_FILENAME {backend};
            fastcgi_param GIT_HTTP_EXPORT_ALL 1;
            fastcgi_param GIT_PROJECT_ROOT {directory}/repos;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
            fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
            fastcgi_param REMOTE_USER $remote_user;
        }}
    }}
}}
"
    )
}
