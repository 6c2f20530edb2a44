//! Whom programs inside trust: the system's authorities and the worker's own.
//!
//! For: clients nobody adapted. In: the worker's certificate, the system's bundle. Out: one full bundle where any
//! client looks for one, and the variables for clients that look nowhere. Never: a private key. What takes long is made by the worker
//! ([`store`]), which would only wait for the sandbox meanwhile.

use crate::{
    certificate::{self, Certificate},
    error::{Error, Step},
    filesystem, keystore,
    message::{Channel, Order},
    namespace,
    plan::Plan,
    spec::Trust,
};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    os::{fd::OwnedFd, unix::fs::symlink},
    path::Path,
};

const DIRECTORY: &str = "/etc/ssl/certs";
/// The full bundle of those whom programs inside trust.
pub const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The worker's own certificate.
pub(crate) const WORKER: &str = "/etc/ssl/certs/exeat-worker.pem";
const KEYSTORE: &str = "/etc/ssl/certs/java/cacerts";
/// Where the machine's directory is while the two are laid one over the other: in what is let go of at the end.
const BELOW: &str = "/.parts/certs";
const LAYERS: &str = "/etc/ssl/certs:/.parts/certs";

/// Firefox has a store in each profile, and reads what it is to add to it here.
const FIREFOX: &str = "/etc/firefox/policies";
const FIREFOX_POLICIES: &str =
    "{\"policies\": {\"Certificates\": {\"Install\": [\"/etc/ssl/certs/exeat-worker.pem\"]}}}\n";

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

/// Whom the machine trusts, taken before the roots change places.
pub(crate) struct OfMachine {
    /// Open; `None` where it has none.
    bundle: Option<File>,
    /// Single certificates; `None` where it has none.
    directory: Option<OwnedFd>,
}

/// Whom programs inside are to trust.
pub(crate) struct Trusted {
    machine: OfMachine,
    /// PEM.
    pub worker: String,
    /// All of them, in the form that Java reads.
    store: File,
}

/// All who are trusted inside, in the form that Java reads, in memory to be given away. Made by the worker, who has the time.
pub(crate) fn store(trust: &Trust, worker: &str) -> Result<File, Error> {
    let bundle = read_bundle(trust)?;
    let make = || -> io::Result<File> {
        let mut store = File::from(memfd_create("trusted", MemfdFlags::CLOEXEC)?);
        store.write_all(&keystore::of(&[&bundle, worker.as_bytes()]))?;
        store.rewind()?;
        Ok(store)
    };
    make().map_err(|error| Step::Filesystem.failed("make the store of whom to trust").because(error))
}

fn read_bundle(trust: &Trust) -> Result<Vec<u8>, Error> {
    trust.system_bundle.as_deref().map_or_else(|| Ok(Vec::new()), |path| fs::read(path).map_err(unreadable(path)))
}

fn unreadable(bundle: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Step::Filesystem.failed("read").on(bundle.display()).because(error)
}

/// Takes the bundle and the directory, as the user who started exeat.
pub(crate) fn take(trust: &Trust) -> Result<OfMachine, Error> {
    let bundle = trust.system_bundle.as_deref().map(|path| File::open(path).map_err(unreadable(path))).transpose()?;
    // Resolved, for what is taken must not be a link.
    let directory = match fs::canonicalize(DIRECTORY) {
        Ok(found) if found.is_dir() => Some(namespace::detached(&found)?),
        _ => None,
    };
    Ok(OfMachine { bundle, directory })
}

impl OfMachine {
    /// Waits for the worker's own.
    pub fn with_worker(self, channel: &Channel) -> Result<Trusted, Error> {
        match channel.receive() {
            Ok(Some((Order::Authority(worker), Some(store)))) => {
                Ok(Trusted { machine: self, worker, store: store.into() })
            }
            heard => {
                let error = Step::Filesystem.failed("hear from the worker whom to trust");
                Err(match heard {
                    Err(errno) => error.because(errno),
                    Ok(_) => error,
                })
            }
        }
    }
}

/// Writes everything into the new root; the machine's single certificates show through from below.
pub(crate) fn write(trusted: &Trusted, plan: &Plan) -> Result<(), Error> {
    let failed =
        |error: io::Error| Step::Filesystem.failed("write the trusted certificates").on(DIRECTORY).because(error);
    let below = Path::new(BELOW);
    let machine = trusted.machine.directory.as_ref();
    if let Some(machine) = machine {
        fs::create_dir(below).map_err(failed)?;
        filesystem::attach(machine, below).map_err(|errno| failed(errno.into()))?;
    }
    fill(trusted, plan).map_err(failed)?;
    if machine.is_some() {
        // A kernel without overlayfs leaves those out: the bundle has them all, and is where nearly everyone looks.
        if let Ok(both) = filesystem::fresh("overlay", &[("lowerdir", LAYERS)], filesystem::READ_ONLY) {
            filesystem::attach(&both, Path::new(DIRECTORY)).map_err(|errno| failed(errno.into()))?;
        }
    }
    Ok(())
}

fn fill(Trusted { machine, worker, store }: &Trusted, plan: &Plan) -> io::Result<()> {
    // The machine's own, shown by the policy, stays as it is.
    let is_shown = |path: &str| plan.binds.iter().any(|bind| Path::new(path).starts_with(&bind.target));
    let directory = Path::new(DIRECTORY);
    fs::create_dir_all(directory.join("java"))?;
    let mut bundle = File::create(BUNDLE)?;
    if let Some(mut machines) = machine.bundle.as_ref() {
        io::copy(&mut machines, &mut bundle)?;
    }
    bundle.write_all(&[b"\n", worker.as_bytes()].concat())?;
    io::copy(&mut &*store, &mut File::create(KEYSTORE)?)?;
    let ours = certificate::from_pem(worker.as_bytes());
    fs::write(WORKER, worker)?;
    if !is_shown(FIREFOX) {
        fs::create_dir_all(FIREFOX)?;
        fs::write(Path::new(FIREFOX).join("policies.json"), FIREFOX_POLICIES)?;
    }
    if let Some(hash) = ours.first().and_then(Certificate::subject_hash) {
        let name = |number: u32| format!("{hash:08x}.{number}");
        let taken = |name: &str| Path::new(BELOW).join(name).symlink_metadata().is_ok();
        let free = (0..).map(name).find(|name| !taken(name));
        free.map_or(Ok(()), |free| symlink("exeat-worker.pem", directory.join(free)))?;
    }
    for (link, to) in ALSO.iter().filter(|(link, _)| !is_shown(link)) {
        let link = Path::new(link);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(to, link)?;
    }
    Ok(())
}
