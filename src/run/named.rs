//! What the files of the broker and the shipper name: where secrets are, and who is run for one.
//!
//! Enters: credentials.toml, broker.toml and log.toml. Leaves: the files that hold secrets, which the sandbox hides; the programs that are run for a secret
//! and the files that their words name, and authorities, none of which the command may change. Never: a look into one of them; what a program runs or reads by itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use config::{Credentials, IdentityKeys, IdentitySettings, LogSettings, Receiver, ShipTarget, Source};

use crate::places::Places;

/// What the operator wrote. Of a file with mistakes nothing is known: whoever goes by it says so.
pub struct Named {
    credentials: Credentials,
    keys: Option<IdentityKeys>,
    ship: Vec<ShipTarget>,
}

impl Named {
    /// Reads the three files.
    pub fn load(places: &Places) -> Self {
        Self {
            credentials: Credentials::load(places.credentials_file()).unwrap_or_default(),
            keys: IdentitySettings::load(places.broker_file()).ok().map(|settings| settings.keys),
            ship: LogSettings::load_without_secrets(places.log_file()).unwrap_or_default().ship,
        }
    }

    /// The files that secrets are read from.
    pub fn secrets(&self) -> Vec<PathBuf> {
        let file = |source: &Source| match source {
            Source::File(file) => Some(file.clone()),
            Source::Env(_) | Source::Command(_) | Source::Systemd(_) | Source::Keyring(_) | Source::Vault(_) => None,
        };
        let kept = match &self.keys {
            Some(IdentityKeys::File { path, .. }) => Some(path.clone()),
            Some(IdentityKeys::Given { .. } | IdentityKeys::Unsaid { .. }) | None => None,
        };
        let keys = self.ship.iter().filter_map(|target| Some(target.client.as_ref()?.key.clone()));
        self.sources().filter_map(file).chain(kept).chain(keys).collect()
    }

    /// What has to stay as it is where relative words are of this directory, as the broker of a run and a program of its take them.
    pub fn relied_on(&self, here: &Path) -> Vec<PathBuf> {
        let issuers = self.credentials.iter().flat_map(|credential| credential.issuer.programs());
        let others = self.elsewhere().filter_map(Source::program);
        let path = std::env::var_os("PATH");
        issuers.chain(others).flat_map(|words| run_by(words, path.as_ref(), here)).chain(self.believed()).collect()
    }

    /// Authorities, and the certificate that belongs to a key.
    fn believed(&self) -> impl Iterator<Item = PathBuf> {
        let issuers = self.credentials.iter().flat_map(|credential| credential.issuer.roots());
        let shipped = self.ship.iter().flat_map(|ShipTarget { roots, client, .. }| {
            roots.iter().chain(client.as_ref().map(|files| &files.certificate))
        });
        issuers.map(Path::to_owned).chain(shipped.cloned())
    }

    /// Where every secret is.
    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.credentials.iter().flat_map(|credential| credential.issuer.sources()).chain(self.elsewhere())
    }

    /// Where those are that are no credential's.
    fn elsewhere(&self) -> impl Iterator<Item = &Source> {
        let keys = match &self.keys {
            Some(IdentityKeys::Given { es256, rs256 }) => [&es256[..], rs256],
            Some(IdentityKeys::File { .. } | IdentityKeys::Unsaid { .. }) | None => [&[][..], &[]],
        };
        let headers = self.ship.iter().filter_map(|target| match &target.receiver {
            Receiver::Otlp { headers, .. } => Some(headers.values()),
            Receiver::Syslog { .. } => None,
        });
        keys.into_iter().flatten().chain(headers.flatten())
    }
}

/// Where nothing says where programs are, the C library looks there.
const PATH: &str = "/bin:/usr/bin";
/// What divides words for a shell, and a flag from its value.
const BETWEEN: [char; 15] = [':', '@', '=', ';', '|', '&', '(', ')', '<', '>', '"', '\'', '`', '$', ','];

/// All that decides what runs, as far as these words show it.
fn run_by(words: &[String], path: Option<&OsString>, here: &Path) -> Vec<PathBuf> {
    let [program, arguments @ ..] = words else { return Vec::new() };
    let mut found = match program.contains('/') {
        true => vec![here.join(program)],
        false => looked_for(program, path, here),
    };
    for argument in arguments {
        let pieces = argument.split(|c: char| c.is_whitespace() || BETWEEN.contains(&c));
        let named = pieces.chain([argument.as_str()]).filter(|word| !word.is_empty());
        found.extend(
            named
                .map(|word| (word, here.join(word)))
                .filter(|(word, place)| is_meant(word, place))
                .map(|(_, place)| place),
        );
    }
    found
}

/// Everywhere that a program is looked for, until it is found: what is not there yet could be.
fn looked_for(program: &str, path: Option<&OsString>, here: &Path) -> Vec<PathBuf> {
    let path = path.cloned().unwrap_or_else(|| PATH.into());
    let mut places = Vec::new();
    // An empty one is the current directory.
    for directory in std::env::split_paths(&path) {
        places.push(here.join(directory).join(program));
        if places.last().is_some_and(|place| is_executable(place)) {
            break;
        }
    }
    places
}

fn is_executable(place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether a word names what is there. A directory has to be written as a path: many a subcommand is called as one.
fn is_meant(word: &str, place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|found| !found.is_dir() || word.contains('/') || word == "." || word == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_words_show_is_the_program_where_it_is_looked_for_and_every_file_that_is_there() {
        let room = tempfile::tempdir().unwrap();
        let here = room.path();
        for file in ["scripts/t.py", "lib/x", "first/cat", "second/cat", "auth/x", "op"] {
            fs::create_dir_all(here.join(file).parent().unwrap()).unwrap();
            fs::write(here.join(file), "").unwrap();
        }
        fs::set_permissions(here.join("second/cat"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = OsString::from("missing:first::second:third");
        for (words, expected) in [
            (&["./scripts/token", "no", "auth"][..], &["./scripts/token"][..]),
            (&["/bin/sh", "-c", "exec<scripts/t.py lib/"], &["/bin/sh", "scripts/t.py", "lib/"]),
            (&["/bin/op", "--file=lib/x", ".", "op"], &["/bin/op", "lib/x", ".", "op"]),
            (&["cat"], &["missing/cat", "first/cat", "cat", "second/cat"]),
        ] {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let mut found = run_by(&words, Some(&path), here);
            found.dedup();
            let expected: Vec<PathBuf> = expected.iter().map(|word| here.join(word)).collect();
            assert_eq!(found, expected, "{words:?}");
        }
        assert_eq!(run_by(&["cat".to_owned()], None, here)[0], Path::new("/bin/cat"));
    }
}
