//! Whom programs inside trust: the system's authorities and the worker's own.
//!
//! For: clients nobody adapted. In: the worker's certificate, the system's bundle. Out: one full bundle where any
//! client looks for one, and the variables for clients that look nowhere. Never: a private key.

use crate::{
    certificate::{self, Certificate},
    error::{Error, Step},
    keystore,
    spec::Trust,
};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const DIRECTORY: &str = "/etc/ssl/certs";
/// The full bundle of those whom programs inside trust.
pub const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const KEYSTORE: &str = "/etc/ssl/certs/java/cacerts";

/// Where else systems keep the bundle, or Java's form of it.
const ALSO: &[(&str, &str)] = &[
    ("/etc/ssl/cert.pem", BUNDLE),
    ("/etc/ssl/ca-bundle.pem", BUNDLE),
    ("/etc/ssl/certs/ca-bundle.crt", BUNDLE),
    ("/etc/pki/tls/certs/ca-bundle.crt", BUNDLE),
    ("/etc/pki/tls/cert.pem", BUNDLE),
    ("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", BUNDLE),
    ("/etc/pki/java/cacerts", KEYSTORE),
    ("/etc/pki/ca-trust/extracted/java/cacerts", KEYSTORE),
];

/// The variables, each naming the full bundle, by which clients with roots of their own are told of it.
pub fn trust_environment() -> Vec<(&'static str, &'static str)> {
    [
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "PIP_CERT",
        "GIT_SSL_CAINFO",
        "NODE_EXTRA_CA_CERTS",
        "npm_config_cafile",
        "DENO_CERT",
        "CARGO_HTTP_CAINFO",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ]
    .into_iter()
    .map(|name| (name, BUNDLE))
    .chain([
        ("SSL_CERT_DIR", DIRECTORY),
        ("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/etc/ssl/certs/java/cacerts"),
    ])
    .collect()
}

/// The machine's directory of single certificates, as it is before the roots change places: its links by name and target,
/// its files by name and text.
pub(crate) struct Singles {
    links: Vec<(PathBuf, PathBuf)>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Singles {
    /// Reads it. A machine without one has no singles; a file that cannot be read is none.
    pub fn read() -> Self {
        let (mut links, mut files) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), PathBuf::from(entry.file_name()));
            if let Ok(to) = fs::read_link(&path) {
                links.push((name, to));
            } else if path.is_file()
                && let Ok(text) = fs::read(&path)
            {
                files.push((name, text));
            }
        }
        Self { links, files }
    }
}

/// Writes everything into the new root.
pub(crate) fn write(trust: &Trust, singles: &Singles) -> Result<(), Error> {
    let failed =
        |error: io::Error| Step::Filesystem.failed("write the trusted certificates").on(DIRECTORY).because(error);
    let ours = certificate::from_pem(trust.worker_ca.as_bytes());
    let bundle = [trust.system_bundle.as_slice(), b"\n", trust.worker_ca.as_bytes()].concat();
    fill(&bundle, &trust.worker_ca, ours.first(), singles).map_err(failed)
}

fn fill(bundle: &[u8], worker_ca: &str, ours: Option<&Certificate>, singles: &Singles) -> io::Result<()> {
    let directory = Path::new(DIRECTORY);
    fs::create_dir_all(directory.join("java"))?;
    fs::write(BUNDLE, bundle)?;
    fs::write(KEYSTORE, keystore::of(&certificate::from_pem(bundle)))?;
    fs::write(directory.join("exeat-worker.pem"), worker_ca)?;
    for (name, text) in &singles.files {
        write_new(&directory.join(name), text)?;
    }
    for (name, to) in &singles.links {
        link_new(to, &directory.join(name))?;
    }
    if let Some(hash) = ours.and_then(Certificate::subject_hash) {
        let free =
            (0_u32..).map(|n| directory.join(format!("{hash:08x}.{n}"))).find(|path| path.symlink_metadata().is_err());
        free.map_or(Ok(()), |link| symlink("exeat-worker.pem", link))?;
    }
    for (link, to) in ALSO {
        if let Some(parent) = Path::new(link).parent() {
            fs::create_dir_all(parent)?;
        }
        link_new(Path::new(to), Path::new(link))?;
    }
    Ok(())
}

/// What is there already is ours, and stays.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() { Ok(()) } else { fs::write(path, text) }
}

fn link_new(to: &Path, link: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok() { Ok(()) } else { symlink(to, link) }
}
