//! SeaweedFS as an object store that trusts a broker: S3 over TLS, and STS for workers' identities.
//!
//! Enters: the issuer that it trusts. Leaves: where it listens, and what STS gave to whom. Never: a state that outlives the test.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::free_address;
use crate::harness::{Authority, weed_tool, within};

pub const ROLE: &str = "arn:aws:iam::123456789012:role/agents";
pub const HOST: &str = "s3.bench.example";

/// The ports of one, before it is started: others have to know them.
pub struct Ports {
    pub https: String,
    /// Where STS is asked, by way of somebody who listens in.
    pub sts: String,
    http: String,
    answers: Arc<Mutex<Vec<u8>>>,
}

/// One that runs.
pub struct Seaweed {
    process: Child,
    directory: tempfile::TempDir,
}

impl Ports {
    pub fn choose() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports = Self {
            https: free_address(),
            sts: format!("http://{}/", listener.local_addr().unwrap()),
            http: free_address(),
            answers: Arc::default(),
        };
        let (to, answers) = (ports.http.clone(), Arc::clone(&ports.answers));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
                let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(from, into, None));
                let answers = Arc::clone(&answers);
                thread::spawn(move || copy(server, client, Some(&answers)));
            }
        });
        ports
    }

    /// The text of an element in everything that STS has answered, each time it came.
    pub fn given(&self, element: &str) -> Vec<String> {
        let answers = String::from_utf8_lossy(&self.answers.lock().unwrap()).into_owned();
        let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
        let texts = answers.split(&begin).skip(1).filter_map(|rest| rest.split_once(&end));
        texts.map(|(text, _)| text.to_owned()).collect()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, kept: Option<&Mutex<Vec<u8>>>) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if let Some(kept) = kept {
            kept.lock().unwrap().extend_from_slice(&piece[..length]);
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Seaweed {
    /// Starts one that gives sessions of [`ROLE`] to whoever `issuer` vouches for; they may do anything in the bucket `box`. `fixed` is
    /// a pair that may do so, too.
    pub fn start(ports: &Ports, issuer: &str, fixed: (&str, &str)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        let (certificate, key) = Authority::trusted().identity(&[HOST]).pem();
        write("cert.pem", &certificate);
        write("key.pem", &key);
        write("ca.pem", Authority::trusted().pem());
        let pair = json!({"accessKey": fixed.0, "secretKey": fixed.1});
        let identity = json!({"name": "fixed", "credentials": [pair], "actions": ["Admin", "Read", "Write", "List"]});
        write("s3.json", &json!({ "identities": [identity] }).to_string());
        write("iam.json", &iam(issuer).to_string());
        fs::create_dir(path("store")).unwrap();
        let mut command = Command::new(weed_tool());
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=100", "-volume.preStopSeconds=1"]);
        // Without it, a volume on a disk that is 99 % full takes no object, however large what is left.
        command.arg("-volume.minFreeSpace=64MiB");
        command.args(["-master.volumeSizeLimitMB=64", "-filer", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        for (flag, file) in [
            ("dir", "store"),
            ("s3.config", "s3.json"),
            ("s3.iam.config", "iam.json"),
            ("s3.cert.file", "cert.pem"),
            ("s3.key.file", "key.pem"),
        ] {
            command.arg(format!("-{flag}={}", path(file)));
        }
        let port = |address: &str| address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        command.arg(format!("-s3.port.https={}", port(&ports.https)));
        for (flag, own) in [
            ("s3", port(&ports.http)),
            ("master", port(&free_address())),
            ("volume", port(&free_address())),
            ("filer", port(&free_address())),
        ] {
            command.arg(format!("-{flag}.port={own}")).arg(format!("-{flag}.port.grpc={}", own + 1));
        }
        let log = fs::File::create(path("log")).unwrap();
        let process = command
            .env("HOME", directory.path())
            .env("SSL_CERT_FILE", path("ca.pem"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let seaweed = Self { process, directory };
        let status = format!("http://{}/status", ports.http);
        within(Duration::from_secs(90), "SeaweedFS", || {
            Command::new("curl").args(["-sf", "-m", "5", "-o", "/dev/null", &status]).status().unwrap().success()
        });
        seaweed
    }

    /// The last that it said of itself.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("log")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn iam(issuer: &str) -> serde_json::Value {
    let key = "dGhlIHNpZ25pbmcga2V5IG9mIHRoZSB0ZXN0cycgU1RT";
    let provider = json!({"issuer": issuer, "clientId": "sts.amazonaws.com", "jwksUri": format!("{issuer}/.well-known/jwks.json")});
    let trust =
        json!([{"Effect": "Allow", "Principal": {"Federated": "house"}, "Action": ["sts:AssumeRoleWithWebIdentity"]}]);
    let allow = json!([
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::box", "arn:aws:s3:::box/*"]},
        {"Effect": "Allow", "Action": ["sts:ValidateSession"], "Resource": ["*"]},
    ]);
    let document = |statements| json!({"Version": "2012-10-17", "Statement": statements});
    json!({
        "sts": {"tokenDuration": "1h", "maxSessionLength": "12h", "issuer": "seaweedfs-sts", "signingKey": key},
        "providers": [{"name": "house", "type": "oidc", "enabled": true, "config": provider}],
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [{"roleName": "agents", "roleArn": ROLE, "trustPolicy": document(trust), "attachedPolicies": ["box"]}],
        "policies": [{"name": "box", "document": document(allow)}],
    })
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
