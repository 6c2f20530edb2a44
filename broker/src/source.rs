//! Where a long-lived secret comes from: a file, a variable of the broker's environment, a command's output; what systemd gave to the
//! unit; the kernel's keyrings; a Vault server.
//!
//! Enters: a [`Source`] and the environment that the caller handed over. Leaves: a [`Secret`], read anew for each lease,
//! so that a rotated one is found without a restart. It never starts a shell, never keeps a secret beyond the call, and
//! puts neither a value nor a command's output into an error.

mod environment;
mod keyring;
mod vault;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Source;
use tokio::fs::File;
use tokio::time::timeout;

pub(crate) use self::environment::Environment;
use self::keyring::KeyringError;
use crate::issuer::{IssueError, chain};
use crate::program::{MAX_OUTPUT, Program, ProgramError, bounded};
use crate::secret::Secret;

/// A file's bound is a program's.
const MAX_SECRET: usize = MAX_OUTPUT;
/// A secret store's command line tool answers in one or two seconds; a call waits for 20 at most.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Where systemd says that the credentials of a unit are (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Reads a long-lived secret.
pub(crate) async fn read(source: &Source, environment: &Environment) -> Result<Secret, SourceError> {
    let read = async {
        match source {
            Source::File(path) => file(path).await,
            Source::Env(name) => match environment.get(name) {
                Some(secret) => text(secret.expose().as_bytes()),
                None => Err(SourceError::NoVariable(name.clone())),
            },
            Source::Command(argv) => command(argv, environment).await,
            Source::Systemd(name) => match environment.get(CREDENTIALS) {
                Some(directory) => file(&Path::new(directory.expose()).join(name)).await,
                None => Err(SourceError::NoVariable(CREDENTIALS.to_owned())),
            },
            Source::Keyring(description) => from_keyring(description).await,
            Source::Vault(secret) => {
                let read = vault::read(secret, environment).await.map_err(Box::new).map_err(SourceError::Vault)?;
                text(read.expose().as_bytes())
            }
        }
    };
    timeout(READ_TIMEOUT, read).await.unwrap_or(Err(SourceError::TooSlow))
}

/// Reads a secret for a process that is no broker, and has these variables.
///
/// # Errors
/// [`NoSecret`], which has nothing of it.
pub async fn read_secret(source: &Source, variables: HashMap<String, Secret>) -> Result<Secret, NoSecret> {
    read(source, &variables.into()).await.map_err(|error| NoSecret(chain(&error)))
}

/// Why a long-lived secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoSecret(String);

async fn file(path: &Path) -> Result<Secret, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    // Asked before it is opened, because opening a FIFO waits for its other end.
    if !tokio::fs::metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let mut file = File::open(path).await.map_err(unreadable)?;
    if file.metadata().await.map_err(unreadable)?.permissions().mode() & 0o006 != 0 {
        return Err(SourceError::OpenToAll(path.to_owned()));
    }
    text(&bounded(&mut file).await.map_err(unreadable)?)
}

async fn command(argv: &[String], environment: &Environment) -> Result<Secret, SourceError> {
    let environment = environment.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let output = Program { argv, environment, input: b"", bound: READ_TIMEOUT }.run().await;
    text(&output.map_err(SourceError::Command)?)
}

async fn from_keyring(description: &str) -> Result<Secret, SourceError> {
    let owned = description.to_owned();
    let read = tokio::task::spawn_blocking(move || keyring::read(&owned)).await.unwrap_or(Err(KeyringError::NotThere));
    text(&read.map_err(|source| SourceError::Keyring { description: description.to_owned(), source })?)
}

/// What an editor or a command puts around a secret is not part of it.
fn text(bytes: &[u8]) -> Result<Secret, SourceError> {
    if bytes.len() > MAX_SECRET {
        return Err(SourceError::TooLong);
    }
    match std::str::from_utf8(bytes).map(str::trim) {
        Ok("") => Err(SourceError::Empty),
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(SourceError::NotText),
    }
}

/// A file without its directories: the reason is told to the agent too, whom they are no business of.
fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()
}

/// Why a long-lived secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("cannot read the secret file `{}`", name(path))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is not a regular file", name(.0))]
    NotAFile(PathBuf),
    #[error("every user of the machine can read or write the secret file `{}`: `chmod o= FILE`", name(.0))]
    OpenToAll(PathBuf),
    #[error("the broker's environment has no variable `{0}`")]
    NoVariable(String),
    #[error("the secret's command gave none")]
    Command(#[source] ProgramError),
    #[error("cannot read the key `user:{description}`")]
    Keyring { description: String, source: KeyringError },
    #[error("cannot read it at its Vault server")]
    Vault(#[source] Box<IssueError>),
    #[error("the secret was not to be had within {} s", READ_TIMEOUT.as_secs())]
    TooSlow,
    #[error("the secret is longer than {MAX_SECRET} bytes")]
    TooLong,
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is not UTF-8 text")]
    NotText,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn read_command(script: &str) -> Result<Secret, SourceError> {
        let environment = Environment::from([
            ("PATH".to_owned(), Secret::new("/usr/bin:/bin")),
            ("VAULT".to_owned(), Secret::new("from the vault")),
        ]);
        read(&Source::Command(["sh", "-c", script].map(str::to_owned).to_vec()), &environment).await
    }

    #[tokio::test]
    async fn a_file_is_trimmed_and_refused_when_all_can_read_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = Source::File(file.path().to_owned());
        fs::write(file.path(), "s3cret\n").unwrap();
        assert_eq!(read(&source, &Environment::new()).await.unwrap().expose(), "s3cret");
        for mode in [0o604, 0o602, 0o666] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&source, &Environment::new()).await, Err(SourceError::OpenToAll(_))), "{mode:o}");
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(file.path(), "rotated").unwrap();
        assert_eq!(read(&source, &Environment::new()).await.unwrap().expose(), "rotated");
        fs::write(file.path(), "x".repeat(MAX_SECRET + 1)).unwrap();
        assert!(matches!(read(&source, &Environment::new()).await, Err(SourceError::TooLong)));
        fs::write(file.path(), [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&source, &Environment::new()).await, Err(SourceError::NotText)));
        let directory = Source::File(std::env::temp_dir());
        assert!(matches!(read(&directory, &Environment::new()).await, Err(SourceError::NotAFile(_))));
    }

    #[tokio::test]
    async fn a_variable_is_read_from_what_the_caller_gave_only() {
        let environment = Environment::from([("KEY".to_owned(), Secret::new("v"))]);
        assert_eq!(read(&Source::Env("KEY".to_owned()), &environment).await.unwrap().expose(), "v");
        assert!(matches!(read(&Source::Env("PATH".to_owned()), &environment).await, Err(SourceError::NoVariable(_))));
    }

    #[tokio::test]
    async fn a_credential_of_systemd_is_a_file_where_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let environment =
            Environment::from([("CREDENTIALS_DIRECTORY".to_owned(), Secret::new(directory.path().to_str().unwrap()))]);
        let source = Source::Systemd("github".to_owned());
        assert!(matches!(read(&source, &environment).await, Err(SourceError::Unreadable { .. })));
        let file = directory.path().join("github");
        fs::write(&file, "of the unit\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read(&source, &environment).await.unwrap().expose(), "of the unit");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(matches!(read(&source, &environment).await, Err(SourceError::OpenToAll(_))));
        let nowhere = read(&source, &Environment::new()).await.unwrap_err();
        assert!(nowhere.to_string().contains("CREDENTIALS_DIRECTORY"), "{nowhere}");
    }

    #[tokio::test]
    async fn a_command_is_bounded_and_its_output_is_in_no_error() {
        assert_eq!(read_command("echo; echo $VAULT").await.unwrap().expose(), "from the vault");
        let seen = read_command("exec env").await.unwrap();
        assert!(
            seen.expose().lines().all(|line| ["PATH=", "VAULT=", "PWD="].iter().any(|name| line.starts_with(name)))
        );
        assert!(matches!(read_command("true").await, Err(SourceError::Empty)));
        assert!(matches!(read_command("yes").await, Err(SourceError::Command(ProgramError::TooLong))));
        let failed = read_command("echo s3cret; echo s3cret >&2; exit 3").await.unwrap_err();
        assert!(!format!("{failed} {failed:?}").contains("s3cret"));
        assert!(matches!(failed, SourceError::Command(ProgramError::Failed { .. })));
        let missing = read(&Source::Command(vec!["/no/such".to_owned()]), &Environment::new()).await;
        assert!(matches!(missing, Err(SourceError::Command(ProgramError::NotStarted { .. }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_never_ends_is_killed_after_ten_seconds() {
        let slow = read_command("sleep 1000").await;
        assert!(
            matches!(slow, Err(SourceError::TooSlow | SourceError::Command(ProgramError::TooSlow { .. }))),
            "{slow:?}"
        );
    }
}
