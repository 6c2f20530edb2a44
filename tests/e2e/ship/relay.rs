//! A TCP relay between exeat and a receiver, in which a test cuts and slows connections.
//!
//! Enters: connections. Leaves: the same bytes, as far and as fast as the test lets them. Never: a byte changed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What happens to connections from now on.
#[derive(Default)]
struct Rule {
    /// Each direction waits so many milliseconds before it passes anything on.
    delay: AtomicU64,
    /// Of the next connection only so many bytes go to the receiver; then it hangs until it is cut. 0: all.
    stop_after: AtomicUsize,
    /// Answers do not come back: the connection is cut instead.
    swallow: AtomicBool,
    /// Bytes that hang.
    hanging: AtomicUsize,
    connections: AtomicUsize,
}

/// A relay, until the test ends.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    rule: Arc<Rule>,
}

impl Relay {
    /// One to this address.
    pub fn to(receiver: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, rule) = (listener.local_addr().unwrap(), Arc::new(Rule::default()));
        let (receiver, shared) = (receiver.to_owned(), Arc::clone(&rule));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (receiver, rule) = (receiver.clone(), Arc::clone(&shared));
                thread::spawn(move || carry(&client, &receiver, &rule));
            }
        });
        Self { address, rule }
    }

    /// Waits so long before anything passes.
    pub fn delay(&self, delay: Duration) {
        self.rule.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Lets so many bytes of the next connection through, and no more.
    pub fn stop_after(&self, bytes: usize) {
        self.rule.stop_after.store(bytes, Ordering::SeqCst);
    }

    /// Cuts connections when the receiver answers, so that exeat never hears of it.
    pub fn swallow_answers(&self, swallow: bool) {
        self.rule.swallow.store(swallow, Ordering::SeqCst);
    }

    /// Whether a connection hangs in the middle.
    pub fn hangs(&self) -> bool {
        self.rule.hanging.load(Ordering::SeqCst) > 0
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.rule.connections.load(Ordering::SeqCst)
    }
}

fn carry(client: &TcpStream, receiver: &str, rule: &Arc<Rule>) {
    let Ok(server) = TcpStream::connect(receiver) else { return };
    let most = match rule.stop_after.swap(0, Ordering::SeqCst) {
        0 => usize::MAX,
        most => most,
    };
    let back = {
        let (mut server, mut client, rule) =
            (server.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(rule));
        thread::spawn(move || {
            let _ = answers(&mut server, &mut client, &rule);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        })
    };
    let (mut from, mut to) = (client, &server);
    let _ = requests(&mut from, &mut to, most, rule);
    // The receiver may still have something to say.
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
}

fn requests(from: &mut &TcpStream, to: &mut &TcpStream, most: usize, rule: &Rule) -> io::Result<()> {
    let (mut buffer, mut passed) = ([0; 4096], 0);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(rule.delay.load(Ordering::SeqCst)));
        let piece = read.min(most - passed);
        to.write_all(&buffer[..piece])?;
        passed += piece;
        if passed == most {
            // The rest never arrives; the receiver's end ends this.
            rule.hanging.fetch_add(1, Ordering::SeqCst);
            while to.peek(&mut [0]).is_ok_and(|more| more > 0) {
                thread::sleep(Duration::from_millis(10));
            }
            rule.hanging.fetch_sub(1, Ordering::SeqCst);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

fn answers(from: &mut TcpStream, to: &mut TcpStream, rule: &Rule) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 || rule.swallow.load(Ordering::SeqCst) {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}
