//! The bare relay: what interception costs in rustls and tokio when nothing is done with what passes.
//!
//! Enters: a TLS connection, whose server name says whom for. Leaves: the same bytes on a connection of its own to the upstream, which is
//! verified. Never: a look at HTTP, a connection upstream that is kept for another client, a leaf minted twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{Issuer, KeyPair};
use rustls::server::Acceptor;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use crate::error::Error;
use crate::identity::provider;

use super::{Intercepts, authority};

/// A TLS record's worth, each way.
const PIECE: usize = 16 * 1024;
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Relays until standard input ends; says where on standard output.
pub fn run(settings: &Intercepts) -> Result<(), Error> {
    let relay = Arc::new(Relay::new(settings)?);
    super::process::serve(async move |listener: TcpListener| {
        while let Ok((stream, _)) = listener.accept().await {
            let relay = Arc::clone(&relay);
            // How a connection ends is its client's business, who reports what did not arrive.
            tokio::spawn(async move { relay.connection(stream).await });
        }
        Ok(())
    })
}

/// What all connections share.
struct Relay {
    issuer: Issuer<'static, KeyPair>,
    /// Of all leaves.
    key: KeyPair,
    /// A name's leaf with the version that it is offered with.
    leaves: Mutex<HashMap<(String, bool), Arc<ServerConfig>>>,
    http1: (SocketAddr, TlsConnector),
    http2: (SocketAddr, TlsConnector),
}

impl Relay {
    fn new(settings: &Intercepts) -> Result<Self, Error> {
        let roots = Arc::new(roots(settings)?);
        let connector = |version| Ok::<_, Error>(TlsConnector::from(Arc::new(upstream(&roots, version)?)));
        Ok(Self {
            issuer: authority::issuer(&settings.authority)?,
            key: KeyPair::generate()?,
            leaves: Mutex::default(),
            http1: (settings.http1, connector(HTTP1)?),
            http2: (settings.both, connector(HTTP2)?),
        })
    }

    async fn connection(&self, stream: TcpStream) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let hello = begun.client_hello();
        let name = hello.server_name().ok_or_else(|| Error::new("no server name"))?.to_owned();
        let http2 = hello.alpn().is_some_and(|mut offered| offered.any(|version| version == HTTP2));
        let leaf = self.leaf(&name, http2)?;
        let mut client = begun.into_stream(leaf).await?;
        let (to, connector) = if http2 { &self.http2 } else { &self.http1 };
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let mut server = connector.connect(ServerName::try_from(name)?, stream).await?;
        copy_bidirectional_with_sizes(&mut client, &mut server, PIECE, PIECE).await?;
        Ok(())
    }

    fn leaf(&self, name: &str, http2: bool) -> Result<Arc<ServerConfig>, Error> {
        let called = (name.to_owned(), http2);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(&called) {
            return Ok(Arc::clone(leaf));
        }
        let certificate = authority::leaf(&[name], &self.key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).map_err(Error::new)?;
        let mut leaf = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        leaf.alpn_protocols = vec![if http2 { HTTP2 } else { HTTP1 }.to_vec()];
        let leaf = Arc::new(leaf);
        leaves.insert(called, Arc::clone(&leaf));
        Ok(leaf)
    }
}

/// Whom the upstream's certificate has to be signed by.
pub fn roots(settings: &Intercepts) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&settings.roots)? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn upstream(roots: &Arc<RootCertStore>, version: &[u8]) -> Result<ClientConfig, Error> {
    let mut configuration = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    configuration.alpn_protocols = vec![version.to_vec()];
    Ok(configuration)
}
