//! What the demo writes: the configuration that `exeat run` reads, and the script.
//!
//! Enters: addresses, the client's secret, the authority's certificate. Leaves: directories that are gone after the demo, except
//! the configuration where `--keep` says so. Never: a file over one that is already there.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::narrator::Narrator;
use super::server::Client;
use crate::report::Report;
use crate::writable::{Flaw, flaw};

/// The script's name.
pub(super) const SCRIPT: &str = "demo.sh";

const AGENT: &str = include_str!("agent.toml");
const CREDENTIALS: &str = include_str!("credentials.toml");
const SCRIPT_TEXT: &str = include_str!("script.sh");
const ABOUT_THE_AUTHORITY: &str = "# The authority of the demo's servers, made for one run; its key is gone.\n\
    # Yours goes here if servers inside your house have certificates that the system does not know.\n";

/// Where the demo's server listens.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) api: SocketAddr,
    pub(super) issuer: SocketAddr,
    pub(super) datagrams: SocketAddr,
}

/// The directories of one demo.
#[derive(Debug)]
pub(super) struct Files {
    temporary: TempDir,
    /// What `--config` gets.
    pub(super) config: PathBuf,
}

impl Files {
    /// Writes everything. `protocols` are those of the machine's curl.
    pub(super) fn write(
        keep: Option<&Path>,
        addresses: &Addresses,
        client: &Client,
        authority: &str,
        protocols: &str,
    ) -> Result<Self, Report> {
        let temporary = tempfile::Builder::new().prefix("exeat-demo-").tempdir()?;
        let config = match keep {
            Some(directory) => claim(directory)?,
            None => temporary.path().join("config"),
        };
        let files = Self { temporary, config };
        let fill = |template: &str| {
            template
                .replace("@DATAGRAM_COMMAND@", &datagram_command(addresses.datagrams, protocols))
                .replace("@API@", &addresses.api.to_string())
                .replace("@ISSUER@", &addresses.issuer.to_string())
                .replace("@CLIENT@", &client.id)
        };
        let script = fill(SCRIPT_TEXT);
        let write = |name: &str, text: &str, mode: u32| write(&files.config.join(name), text, mode);
        write("agents/demo.toml", &fill(AGENT), 0o644)?;
        write("credentials.toml", &fill(CREDENTIALS), 0o644)?;
        write("secrets/demo-client-secret", &format!("{}\n", client.secret), 0o600)?;
        write("demo-ca.pem", &format!("{ABOUT_THE_AUTHORITY}{authority}"), 0o644)?;
        write(SCRIPT, &script, 0o644)?;
        fs::set_permissions(files.config.join("secrets"), Permissions::from_mode(0o700))?;
        // Outside the configuration, which no sandbox shows; and for the user without privilege as whom root's command runs.
        self::write(&files.work().join(SCRIPT), &script, 0o644)?;
        fs::set_permissions(files.work(), Permissions::from_mode(0o755))?;
        fs::set_permissions(files.work().join(SCRIPT), Permissions::from_mode(0o644))?;
        Ok(files)
    }

    /// The command's working directory.
    pub(super) fn work(&self) -> PathBuf {
        self.temporary.path().join("work")
    }

    /// What `--state` gets.
    pub(super) fn state(&self) -> PathBuf {
        self.temporary.path().join("state")
    }

    /// Where the run's own diagnostics go.
    pub(super) fn diagnostics(&self) -> PathBuf {
        self.temporary.path().join("diagnostics")
    }
}

/// Says what stays, and what to do with it.
pub(super) fn say_what_is_kept(narrator: &mut Narrator, directory: &Path) -> Result<(), Report> {
    let exeat = std::env::args().next().unwrap_or_else(|| "exeat".to_owned());
    let directory = directory.display();
    narrator.heading(&format!("\nKept in {directory}. The demo's API is gone, so put hosts of your own in:"))?;
    narrator.facts(&[
        ("agents/demo.toml", "what the agent may do: edit `to`, `methods`, `paths`, and take `dial` out"),
        ("credentials.toml", "which credential goes where: edit the endpoints, `client_id` and `to`"),
        ("secrets/demo-client-secret", "what only the broker reads: put yours in"),
        ("demo-ca.pem", "the authority of the demo's servers: replace it, or take `roots` out"),
        (SCRIPT, "what ran in the sandbox"),
    ])?;
    let again = format!("{exeat} --config {directory} run --agent demo -- sh -s <{directory}/{SCRIPT}");
    narrator.heading("Then, for every mistake in them, and to run it again:")?;
    narrator.command(&format!("{exeat} --config {directory} check"))?;
    narrator.command(&again)?;
    Ok(())
}

/// One UDP packet: TFTP is UDP, and most curls speak it; bash does it otherwise.
fn datagram_command(to: SocketAddr, protocols: &str) -> String {
    if protocols.split_whitespace().any(|protocol| protocol == "tftp") {
        return format!("curl --max-time 0.3 tftp://{to}/payroll");
    }
    // The first packet meets a refusal, of which the second hears.
    format!("bash -c \"exec >/dev/udp/{}/{}; echo payroll; echo payroll\"", to.ip(), to.port())
}

/// Makes the directory that is kept, or takes an empty one.
fn claim(directory: &Path) -> Result<PathBuf, Report> {
    let failed =
        |error: io::Error| Report::new(format!("cannot keep the demo's files in `{}`: {error}", directory.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let directory = directory.canonicalize()?;
    if let Some(Flaw { said, mend }) = flaw(&directory) {
        let told = Report::new(format!("`{}` {said}, and nothing starts by what is in such", directory.display()));
        return Err(told.hint(format!("`{mend}`, or say --keep with a directory that is not there yet")));
    }
    if fs::read_dir(&directory).map_err(failed)?.next().is_some() {
        let told = Report::new(format!("`{}` is not empty, and the demo writes over nothing", directory.display()));
        return Err(told.hint("say --keep with a directory that is empty or not there yet"));
    }
    Ok(directory)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use config::{Credentials, Policy, cross_check};

    use super::*;

    fn files(keep: Option<&Path>) -> Result<Files, Report> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { api: address(1), issuer: address(2), datagrams: address(3) };
        let client = Client { id: "c".to_owned(), secret: "s".to_owned() };
        Files::write(keep, &addresses, &client, "PEM", "http https")
    }

    #[test]
    fn what_is_written_has_no_mistake() {
        let files = files(None).unwrap();
        let policy = Policy::load(files.config.join("agents/demo.toml")).unwrap();
        let credentials = Credentials::load(files.config.join("credentials.toml")).unwrap();
        assert_eq!(cross_check(&[policy], &credentials), []);
        let script = fs::read_to_string(files.work().join(SCRIPT)).unwrap();
        assert!(script.contains("/dev/udp/127.0.0.1/3") && !script.contains("@API@"));
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let fresh = directory.path().join("a/b");
        assert!(files(Some(&fresh)).unwrap().config.ends_with("a/b"));
        assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o077, 0);
        let refused = files(Some(&fresh)).unwrap_err().to_string();
        assert!(refused.contains("is not empty") && refused.contains("hint: "), "{refused}");
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let refused = files(Some(&open)).unwrap_err().to_string();
        assert!(refused.contains("every user of the machine") && refused.contains("chmod o-w"), "{refused}");
    }
}
