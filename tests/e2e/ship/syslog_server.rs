//! rsyslog, as Debian has it: syslog over TLS into a file.
//!
//! Enters: RFC 5425. Leaves: what it parsed of each message. Never: a decoder of exeat's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Authority, free_address, within};

/// A server that can be killed and started again on the same address.
pub struct SyslogServer {
    /// Where it listens.
    pub address: String,
    directory: tempfile::TempDir,
    driver: &'static str,
    process: Option<Child>,
}

/// One message.
#[derive(Debug)]
pub struct Received {
    /// `PRI`.
    pub priority: String,
    /// `TIMESTAMP`.
    pub time: String,
    /// `APP-NAME`.
    pub application: String,
    /// `PROCID`: the worker.
    pub worker: String,
    /// `MSGID`: the event.
    pub kind: String,
    /// `MSG`.
    pub message: Value,
}

impl SyslogServer {
    /// One that runs, on OpenSSL (`ossl`) or GnuTLS (`gtls`).
    pub fn start(driver: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = Authority::trusted().identity(&["localhost", "127.0.0.1"]).pem();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("ca.pem", Authority::trusted().pem());
        write("cert.pem", &certificate);
        write("key.pem", &key);
        let mut server = Self { address: free_address(), directory, driver, process: None };
        server.begin();
        server
    }

    /// Starts it, again.
    pub fn begin(&mut self) {
        let (directory, driver) = (self.directory.path().display(), self.driver);
        let port = self.address.rsplit_once(':').unwrap().1;
        let template = r#"%pri%\t%timereported:::date-rfc3339%\t%app-name%\t%procid%\t%msgid%\t%msg%\n"#;
        let configuration = format!(
            "global(workDirectory=\"{directory}\" defaultNetstreamDriverCAFile=\"{directory}/ca.pem\"
                defaultNetstreamDriverCertFile=\"{directory}/cert.pem\" defaultNetstreamDriverKeyFile=\"{directory}/key.pem\")
             module(load=\"imtcp\" streamDriver.name=\"{driver}\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")
             template(name=\"all\" type=\"string\" string=\"{template}\")
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")
             action(type=\"omfile\" file=\"{directory}/received\" template=\"all\" asyncWriting=\"off\" flushOnTXEnd=\"on\")\n"
        );
        let file = self.directory.path().join("rsyslog.conf");
        fs::write(&file, configuration).unwrap();
        let output = fs::File::create(self.directory.path().join("output")).unwrap();
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.args(["-n", "-i"]).arg(self.directory.path().join("pid")).arg("-f").arg(file);
        let command = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        self.process =
            Some(command.spawn().unwrap_or_else(|error| panic!("rsyslogd ({error}): `tests/run` installs it")));
        within(Duration::from_secs(20), "the syslog server", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
        let _ = fs::remove_file(self.directory.path().join("pid"));
    }

    /// What it wrote down.
    pub fn received(&self) -> Vec<Received> {
        let text = fs::read_to_string(self.directory.path().join("received")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let message = |line: &str| {
            let parts: Vec<&str> = line.splitn(6, '\t').collect();
            let [priority, time, application, worker, kind, message] = parts[..] else { panic!("{line}") };
            let message = serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {message}"));
            let [priority, time, application, worker, kind] =
                [priority, time, application, worker, kind].map(str::to_owned);
            Received { priority, time, application, worker, kind, message }
        };
        whole.lines().map(message).collect()
    }

    /// What it said itself.
    pub fn output(&self) -> String {
        let path: PathBuf = self.directory.path().join("output");
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for SyslogServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
