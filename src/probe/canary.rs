//! What listens and lies outside, to be reached by nobody inside.
//!
//! Enters: the run's own words, and addresses of this machine. Leaves: canaries that say a word, and a count of who came with the one for inside. Never: a
//! canary that is left behind, on disk or in the keyring; one from out here, come late, taken for one from inside.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::brief::Canaries;
use super::upstream::End;
use crate::report::Report;

/// Where systems let everyone put files.
const FOR_EVERYONE: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// How often each kind was reached.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    loopback: AtomicUsize,
    machine: AtomicUsize,
    datagrams: AtomicUsize,
    abstract_socket: AtomicUsize,
    socket: AtomicUsize,
    unix_datagrams: AtomicUsize,
}

impl Reached {
    /// The attempts whose canary was reached since the last look.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        let counts = [
            (&self.loopback, "network/tcp-loopback"),
            (&self.machine, "network/tcp-machine"),
            (&self.datagrams, "network/udp-machine"),
            (&self.abstract_socket, "network/abstract-socket"),
            (&self.socket, "network/unix-socket"),
            (&self.unix_datagrams, "network/unix-datagram"),
        ];
        counts.into_iter().filter(|(count, _)| count.swap(0, Ordering::SeqCst) > 0).map(|(_, id)| id).collect()
    }
}

/// The canaries of one run. Their threads end with the process.
#[derive(Debug)]
pub(crate) struct Aviary {
    pub(crate) canaries: Canaries,
    pub(crate) reached: Arc<Reached>,
    /// Where every call ends.
    pub(super) end: End,
    /// Only this user can enter it.
    _directory: TempDir,
}

impl Aviary {
    /// Puts one wherever this machine has a place for it. Who says `outside` is answered, and not counted.
    pub(crate) fn open(nonce: &str, outside: &str) -> Result<Self, Report> {
        let reached = Arc::new(Reached::default());
        let word = &Words { inside: nonce.to_owned(), outside: outside.to_owned() };
        let (abstract_socket, recall) = (format!("exeat-probe-{nonce}"), super::nonce()?);
        let mut canaries = Canaries { abstract_socket, recall, ..Canaries::default() };
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for address in loopback {
            canaries.loopback.extend(tcp(address, word, &reached, |reached| &reached.loopback));
        }
        let machine = own_addresses();
        for address in &machine {
            canaries.machine.extend(tcp(*address, word, &reached, |reached| &reached.machine));
        }
        for address in loopback.into_iter().chain(machine) {
            canaries.datagrams.extend(udp(address, word, &reached));
        }
        let name = UnixAddress::from_abstract_name(&canaries.abstract_socket)?;
        unix(UnixListener::bind_addr(&name)?, word, &reached, |reached| &reached.abstract_socket);

        let directory = tempfile::Builder::new().prefix("exeat-probe-").tempdir()?;
        canaries.socket = directory.path().join("socket");
        unix(UnixListener::bind(&canaries.socket)?, word, &reached, |reached| &reached.socket);

        canaries.datagram_name = format!("{}-datagrams", canaries.abstract_socket);
        canaries.datagram_socket = directory.path().join("datagrams");
        let name = UnixAddress::from_abstract_name(&canaries.datagram_name)?;
        unix_datagrams(UnixDatagram::bind_addr(&name)?, word, &reached);
        unix_datagrams(UnixDatagram::bind(&canaries.datagram_socket)?, word, &reached);

        for place in FOR_EVERYONE.map(Path::new).into_iter().filter(|place| place.is_dir()) {
            let path = place.join(&canaries.abstract_socket);
            if fs::write(&path, nonce).is_ok() {
                canaries.temporary.push(path);
            }
        }
        let secret = std::env::current_dir()?.join(format!(".env.{}", canaries.abstract_socket));
        canaries.secret = fs::write(&secret, nonce).is_ok().then_some(secret);
        canaries.key =
            sandbox::attempt::add_key(&canaries.abstract_socket).ok().map(|()| canaries.abstract_socket.clone());
        let end = End::open(nonce, &canaries.recall, directory.path())?;
        Ok(Self { canaries, reached, end, _directory: directory })
    }

    /// The attempts of which something arrived that never should have.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let reached = self.reached.take().into_iter().map(str::to_owned);
        reached.chain(self.end.arrived()).collect()
    }
}

impl Drop for Aviary {
    fn drop(&mut self) {
        for path in self.canaries.temporary.iter().chain(&self.canaries.secret) {
            let _ = fs::remove_file(path);
        }
        if let Some(key) = &self.canaries.key {
            let _ = sandbox::attempt::remove_key(key);
        }
    }
}

/// The addresses that this machine would call from; to connect a UDP socket sends nothing.
fn own_addresses() -> Vec<IpAddr> {
    let towards = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1))),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
    ];
    let own = towards.into_iter().filter_map(|(own, other)| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((other, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

type Counted = fn(&Reached) -> &AtomicUsize;

/// What is said to canaries.
#[derive(Debug, Clone)]
struct Words {
    inside: String,
    outside: String,
}

/// How long a canary listens to one client, which says the word at once.
const PATIENCE: Duration = Duration::from_millis(300);

/// Says the word first, as the proxy would wait for it for ever, and counts who says it too: others may come by.
fn tcp(address: IpAddr, words: &Words, reached: &Arc<Reached>, counted: Counted) -> Option<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).ok()?;
    let own = listener.local_addr().ok()?;
    let (words, reached) = (words.clone(), Arc::clone(reached));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(words.inside.as_bytes());
            let _ = stream.set_read_timeout(Some(PATIENCE));
            if heard(&mut stream, &words) == Some(&*words.inside) {
                counted(&reached).fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    Some(own)
}

/// Says a word to whoever has said it.
fn unix(listener: UnixListener, words: &Words, reached: &Arc<Reached>, counted: Counted) {
    let (words, reached) = (words.clone(), Arc::clone(reached));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let Some(word) = heard(&mut stream, &words) else { continue };
            if word == words.inside {
                counted(&reached).fetch_add(1, Ordering::SeqCst);
            }
            let _ = stream.write_all(word.as_bytes());
        }
    });
}

/// Nobody is answered: who sends need not have a name.
fn unix_datagrams(socket: UnixDatagram, words: &Words, reached: &Arc<Reached>) {
    let (words, reached) = (words.clone(), Arc::clone(reached));
    std::thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok(length) = socket.recv(&mut datagram) {
            if &datagram[..length] == words.inside.as_bytes() {
                reached.unix_datagrams.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
}

/// Which of the words it is that a client says.
fn heard<'w>(stream: &mut impl Read, words: &'w Words) -> Option<&'w str> {
    let mut said = [0; 256];
    let length = stream.read(&mut said).unwrap_or_default();
    let is_said = |word: &&str| said[..length].windows(word.len()).any(|window| window == word.as_bytes());
    [&*words.inside, &*words.outside].into_iter().find(is_said)
}

fn udp(address: IpAddr, words: &Words, reached: &Arc<Reached>) -> Option<SocketAddr> {
    let socket = UdpSocket::bind((address, 0)).ok()?;
    let own = socket.local_addr().ok()?;
    let (words, reached) = (words.clone(), Arc::clone(reached));
    std::thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let said = &datagram[..length];
            if said == words.inside.as_bytes() {
                reached.datagrams.fetch_add(1, Ordering::SeqCst);
            } else if said != words.outside.as_bytes() {
                continue;
            }
            let _ = socket.send_to(said, from);
        }
    });
    Some(own)
}

/// The resolvers that this machine asks, but those on its loopback, which is another one inside.
pub(crate) fn machine_resolvers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    servers.filter(|server: &IpAddr| !server.is_loopback()).collect()
}

/// Files of exeat's that are there and that this user can read.
pub(crate) fn readable(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().filter(|path| path.is_dir() || fs::File::open(path).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_from_outside_is_answered_and_not_counted_however_late() {
        let aviary = Aviary::open("0badcafe", "50ddf00d").unwrap();
        let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        own.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let canary = aviary.canaries.datagrams.iter().find(|canary| canary.is_ipv4()).unwrap();
        let ask = |word: &str| {
            own.send_to(word.as_bytes(), canary).unwrap();
            let length = own.recv(&mut [0; 64]).unwrap();
            (length, aviary.reached.take())
        };
        assert_eq!(ask("50ddf00d"), (8, vec![]));
        assert_eq!(ask("0badcafe"), (8, vec!["network/udp-machine"]));
    }
}
