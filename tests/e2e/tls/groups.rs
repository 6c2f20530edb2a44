//! The group of the key exchange upstream: what the client could have had there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::{Request, Response};
use rustls::{NamedGroup, ServerConfig};

use super::{NAME, answering};
use crate::harness::{Agreed, Answering, Authority, Body, Exeat, Run, Server, python_tools, tools};

const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

/// For one group at least, the first the one that it likes best.
fn configuration(groups: &[NamedGroup]) -> Arc<ServerConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    provider.kx_groups.sort_by_key(|group| groups.iter().position(|name| *name == group.name()));
    Authority::trusted().identity(NAME).configuration_with(provider)
}

/// An upstream of these; where it is, and what was agreed on.
fn of_groups(groups: &[NamedGroup]) -> (SocketAddr, Arc<Mutex<Vec<NamedGroup>>>) {
    answering(configuration(groups), |connection| connection.negotiated_key_exchange_group().unwrap().name())
}

/// One that keeps its connections and has both; and of each request what its connection had agreed on.
fn kept_alive(alpn: &str) -> (Server, Arc<Mutex<Vec<NamedGroup>>>) {
    let mut tls = Arc::unwrap_or_clone(configuration(&[HYBRID, NamedGroup::X25519]));
    tls.alpn_protocols = vec![alpn.into()];
    let seen = Arc::<Mutex<Vec<NamedGroup>>>::default();
    let kept = Arc::clone(&seen);
    let answer = move |request: Request<Incoming>| -> Answering {
        kept.lock().unwrap().push(request.extensions().get::<Agreed>().unwrap().0);
        Box::pin(async { Response::new(Body::empty()) })
    };
    (Server::start(Some(tls.into()), Arc::new(answer)), seen)
}

/// BoringSSL, in grpcio, has a share of the hybrid in its first message; a status of HTTP is all that it needs here.
const OFFERS_IT: &str = "import grpc
channel = grpc.secure_channel('api.example.com:443', grpc.ssl_channel_credentials())
try:
    channel.unary_unary('/test.Echo/Unary')(b'', timeout=10)
except grpc.RpcError:
    pass";

/// What was agreed on with the client and with the upstream, for each call.
fn groups(run: &Run) -> Vec<[String; 2]> {
    let group = |leg: &Option<Arc<record::TlsLeg>>| leg.as_ref().unwrap().group.clone().unwrap();
    let ends = run.log.ends();
    let end = |call| ends.iter().find(|end| end.call == call).unwrap();
    run.log.calls().iter().map(|start| [group(&start.client_tls), group(&end(start.call).upstream_tls)]).collect()
}

#[test]
fn an_upstream_that_wants_the_hybrid_key_exchange_gets_it_and_whose_client_offers_it_is_offered_it_first() {
    let (wants, wanted) = of_groups(&[HYBRID]);
    let (prefers, preferred) = of_groups(&[HYBRID, NamedGroup::X25519]);
    let (has_none, without) = of_groups(&[NamedGroup::X25519]);
    let exeat = |dial| Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\""));
    // Without it: who prefers it gets what the client would have got there.
    for (dial, agreed) in [(wants, "X25519MLKEM768"), (prefers, "X25519"), (has_none, "X25519")] {
        let run = exeat(dial).run(&["curl", "-sSf", "--curves", "X25519", "https://api.example.com/"]).ok();
        assert_eq!(groups(&run), [["X25519", agreed]], "{run:#?}");
    }
    for (dial, agreed) in [(prefers, "X25519MLKEM768"), (has_none, "X25519")] {
        let exeat = exeat(dial).sandbox(&format!("read = [\"{}\"]", tools().display()));
        let run = exeat.run(&[&python_tools(), "-c", OFFERS_IT]).ok();
        assert_eq!(groups(&run), [["X25519MLKEM768", agreed]], "{run:#?}");
    }
    let agreed = [wanted, preferred, without].map(|agreed| agreed.lock().unwrap().clone());
    assert_eq!(agreed, [vec![HYBRID], vec![NamedGroup::X25519, HYBRID], vec![NamedGroup::X25519; 2]]);
}

#[test]
fn a_client_that_offers_the_hybrid_does_not_ride_a_connection_that_a_weaker_one_left() {
    for alpn in ["http/1.1", "h2"] {
        let (upstream, seen) = kept_alive(alpn);
        let exeat = Exeat::new()
            .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{}\"", upstream.address))
            .sandbox(&format!("read = [\"{}\"]", tools().display()));
        // The last finds what the first left.
        let weak = "curl -sSf --curves X25519 https://api.example.com/";
        let run = exeat.run(&["sh", "-c", &format!("{weak}; $0 -c \"$1\"; {weak}"), &python_tools(), OFFERS_IT]).ok();
        let (weak, hybrid) = (NamedGroup::X25519, HYBRID);
        assert_eq!(*seen.lock().unwrap(), [weak, hybrid, weak], "{alpn}: {run:#?}");
        assert_eq!(upstream.connections(), 2, "{alpn}: {run:#?}");
        let of_both = |name: &str| [name, name].map(str::to_owned);
        assert_eq!(groups(&run), ["X25519", "X25519MLKEM768", "X25519"].map(of_both), "{alpn}");
    }
}
