//! Where every call of the battery ends: a server of its own, which stands in the place of all that the policy lets out to.
//!
//! Enters: connections of the worker, for whatever name. Leaves: to each request an answer that says what was heard; and which attempts
//! arrived that never should. Never: a request passed on, a certificate that anybody but this run's worker trusts.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::evidence::{MARK, SENT, TOOLS};
use super::heard::{self, Heard, Request, hex};
use super::{inside, stand_in};
use crate::report::Report;

/// Nothing that the battery says takes as long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is smuggled comes right behind.
const REST: Duration = Duration::from_millis(40);
/// More than any attempt.
const LONGEST: usize = 1 << 20;
/// The first byte of TLS.
const HANDSHAKE: u8 = 0x16;
/// What has the canary say what else has come, with the secret of the run behind it.
pub(crate) const RECALL: &str = "canary=recall-";

/// The server; its threads end with the process.
#[derive(Debug)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    /// The certificate of its authority.
    pub(super) root: PathBuf,
    heard: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What came on each connection that has had no answer, by its number.
    open: Mutex<HashMap<u64, Vec<u8>>>,
    /// The attempts that are marked as such which nobody may let out.
    arrived: Mutex<BTreeSet<String>>,
    /// The queries of those that may go out, by the connection that they came on.
    carried: Mutex<HashMap<u64, Vec<String>>>,
}

impl End {
    /// Listens on loopback.
    ///
    /// # Errors
    /// Without loopback, randomness, or a place for the certificate.
    pub(super) fn open(word: &str, recall: &str, directory: &Path) -> Result<Self, Report> {
        let (pem, tls) = certify()?;
        let root = directory.join("root.pem");
        fs::write(&root, pem)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let heard = Arc::new(State::default());
        let (word, recall, state) = (word.to_owned(), format!("{RECALL}{recall}"), Arc::clone(&heard));
        std::thread::spawn(move || {
            for (number, stream) in (0..).zip(listener.incoming().flatten()) {
                let (word, recall, state, tls) = (word.clone(), recall.clone(), Arc::clone(&state), Arc::clone(&tls));
                std::thread::spawn(move || {
                    let _ = serve(stream, tls, &Connection { number, word, recall, state });
                });
            }
        });
        Ok(Self { address, root, heard })
    }

    /// The queries of all that came here, as it may.
    pub(super) fn carried(&self) -> Vec<String> {
        locked(&self.heard.carried).values().flatten().cloned().collect()
    }

    /// The attempts that came here and should not have.
    pub(super) fn arrived(&self) -> Vec<String> {
        locked(&self.heard.arrived).iter().cloned().collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Connection {
    number: u64,
    word: String,
    /// What only this run asks.
    recall: String,
    state: Arc<State>,
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, connection: &Connection) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    if first == [HANDSHAKE] {
        let server = ServerConnection::new(tls).map_err(io::Error::other)?;
        return converse(StreamOwned::new(server, stream), |stream| &stream.sock, connection);
    }
    converse(stream, |stream| stream, connection)
}

/// Takes one request, and all that comes behind it.
fn converse<S: Read + Write>(mut stream: S, socket: fn(&S) -> &TcpStream, own: &Connection) -> io::Result<()> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return stream.write_all(&answer(own, &bytes));
            }
            Err(error) => return Err(error),
        }
        locked(&own.state.open).insert(own.number, bytes.clone());
        let (requests, rest) = heard::read(&bytes);
        locked(&own.state.arrived).extend(requests.iter().filter_map(marked));
        locked(&own.state.carried).insert(own.number, requests.iter().filter_map(carried).collect());
        let whole = requests.last().is_some_and(|request| request.whole) && rest.is_empty();
        if let [request] = &requests[..]
            && whole
            && let Some(key) = request.field("sec-websocket-key")
        {
            stream.write_all(agreement(key).as_bytes())?;
            return frames(stream, request, own);
        }
        if requests.iter().any(|request| request.field("x-probe-answer") == Some("switch")) {
            locked(&own.state.open).remove(&own.number);
            return stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: probe\r\nConnection: Upgrade\r\n\r\n");
        }
        let over = whole || bytes.len() > LONGEST || (!rest.is_empty() && !heard::may_go_on(rest));
        socket(&stream).set_read_timeout(Some(if over { REST } else { PATIENCE }))?;
    }
}

/// The attempt that a target is marked with.
fn marked(request: &Request) -> Option<String> {
    let query = request.line.split(' ').nth(1)?.split_once('?')?.1;
    let id = query.split('&').find_map(|pair| pair.strip_prefix(MARK)?.strip_prefix('='))?;
    Some(id.to_owned())
}

/// The query of one that may come.
fn carried(request: &Request) -> Option<String> {
    let query = request.line.split(' ').nth(1)?.split_once('?')?.1;
    query.strip_prefix(SENT)?.starts_with('=').then(|| query.to_owned())
}

/// Says what was heard, as an answer that has what exeat takes out of one.
fn answer(own: &Connection, bytes: &[u8]) -> Vec<u8> {
    let (requests, rest) = heard::read(bytes);
    locked(&own.state.open).remove(&own.number);
    let recalls = requests.iter().any(|request| asks(request, &own.recall));
    let unanswered = if recalls { std::mem::take(&mut *locked(&own.state.open)) } else { HashMap::new() };
    let unanswered = unanswered.into_values().flat_map(|bytes| heard::read(&bytes).0).map(Request::in_short).collect();
    let asked = requests.iter().find_map(|request| list(request).or_else(|| shown(request, &own.word)));
    let heard = Heard { word: own.word.clone(), requests, rest: hex(rest), unanswered };
    let said = || ("application/json".to_owned(), (serde_json::to_string(&heard).unwrap_or_default() + "\n").into());
    let (form, body) = asked.unwrap_or_else(said);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {form}\r\nContent-Length: {length}\r\nAlt-Svc: h3=\":443\"\r\nConnection: close\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

/// The tools of an MCP server, as whoever asks for them names them.
fn list(request: &Request) -> Option<(String, Vec<u8>)> {
    let tools = request.field(TOOLS)?.split(',').map(|name| serde_json::json!({ "name": name, "inputSchema": {} }));
    let result = serde_json::json!({ "tools": tools.collect::<Vec<_>>() });
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": result });
    Some(match request.field("x-probe-answer")? {
        "events" => ("text/event-stream".to_owned(), format!("event: message\ndata: {answer}\n\n").into()),
        _ => ("application/json".to_owned(), answer.to_string().into()),
    })
}

/// What stands for a credential, where it is asked for: the type, with whatever fields follow that, and the body.
fn shown(request: &Request, word: &str) -> Option<(String, Vec<u8>)> {
    let (credential, _) = stand_in::pair(word);
    match request.field("x-probe-answer")? {
        "shown" => {
            let text = format!("{credential} {}\n", STANDARD.encode(&credential));
            Some((format!("text/plain\r\nX-Probe: {credential}"), text.into()))
        }
        "compressed" => Some((
            "text/plain\r\nContent-Encoding: gzip".to_owned(),
            inside::gzip::compressed(format!("a {credential} b\n").as_bytes()),
        )),
        _ => None,
    }
}

/// Whether a request's query is this and nothing else.
fn asks(request: &Request, recall: &str) -> bool {
    let target = request.line.split(' ').nth(1).unwrap_or_default();
    target.split_once('?').is_some_and(|(_, query)| query == recall)
}

/// RFC 6455 section 4.2.2.
fn agreement(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Hears what comes behind an agreement: the bare payloads, one after the other, stand for the body of the request.
fn frames(mut stream: impl Read, request: &Request, own: &Connection) -> io::Result<()> {
    let head: String = request.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{}\r\n{head}Transfer-Encoding: chunked\r\n\r\n", request.line).into_bytes();
    let mut bytes = head;
    loop {
        let mut frame = [0; 2];
        stream.read_exact(&mut frame)?;
        let mut length = u64::from(frame[1] & 0x7f);
        if length == 126 {
            let mut long = [0; 2];
            stream.read_exact(&mut long)?;
            length = u16::from_be_bytes(long).into();
        }
        let mut mask = [0; 4];
        stream.read_exact(&mut mask)?;
        let mut payload = vec![0; usize::try_from(length).unwrap_or(LONGEST).min(LONGEST)];
        stream.read_exact(&mut payload)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        bytes.extend(format!("{length:x}\r\n").bytes());
        bytes.extend(payload);
        bytes.extend(b"\r\n");
        locked(&own.state.open).insert(own.number, bytes.clone());
    }
}

/// A certificate for any name that is asked for, by an authority of this run.
struct Certificates {
    authority: Issuer<'static, KeyPair>,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut leaf = CertificateParams::new(vec![hello.server_name()?.to_owned()]).ok()?;
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&self.key, &self.authority).ok()?;
        Some(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], Arc::clone(&self.signing))))
    }
}

fn certify() -> Result<(String, Arc<ServerConfig>), Report> {
    let (key, own) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "exeat probe");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = authority.self_signed(&own)?.pem();
    let signing = any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    let certificates = Certificates { authority: Issuer::new(authority, own), key, signing };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    Ok((pem, Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_others_is_told_to_whoever_has_the_secret_alone() {
        let directory = tempfile::tempdir().unwrap();
        let end = End::open("0badcafe", "50ddf00d", directory.path()).unwrap();
        let mut other = TcpStream::connect(end.address).unwrap();
        other.write_all(b"POST /of-another HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
        let ask = |query: &str| {
            let mut stream = TcpStream::connect(end.address).unwrap();
            write!(stream, "GET /?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        while locked(&end.heard.open).is_empty() {
            std::thread::sleep(REST);
        }
        for wrong in ["canary=recall", "canary=recall-", "canary=recall-0badcafe", "canary=recall-50ddf00", "50ddf00d"]
        {
            assert!(!ask(wrong).contains("/of-another"), "{wrong}");
        }
        assert!(ask("canary=recall-50ddf00d").contains("/of-another"));
    }
}
