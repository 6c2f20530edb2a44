//! The group of the key exchange upstream: what the client could have had there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::NamedGroup;

use super::{NAME, answering};
use crate::harness::{Authority, Exeat, Run, python_tools, tools};

const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

/// An upstream for one group at least, the first the one that it likes best; where it is, and what was agreed on.
fn of_groups(groups: &[NamedGroup]) -> (SocketAddr, Arc<Mutex<Vec<NamedGroup>>>) {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    provider.kx_groups.sort_by_key(|group| groups.iter().position(|name| *name == group.name()));
    let configuration = Authority::trusted().identity(NAME).configuration_with(provider);
    answering(configuration, |connection| connection.negotiated_key_exchange_group().unwrap().name())
}

#[test]
fn an_upstream_that_wants_the_hybrid_key_exchange_gets_it_and_whose_client_offers_it_is_offered_it_first() {
    let (wants, wanted) = of_groups(&[HYBRID]);
    let (prefers, preferred) = of_groups(&[HYBRID, NamedGroup::X25519]);
    let (has_none, without) = of_groups(&[NamedGroup::X25519]);
    let exeat = |dial| Exeat::new().rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\""));
    let groups = |run: &Run| -> Vec<[String; 2]> {
        let group = |leg: &Option<Arc<record::TlsLeg>>| leg.as_ref().unwrap().group.clone().unwrap();
        let (starts, ends) = (run.log.calls(), run.log.ends());
        starts.iter().zip(&ends).map(|(start, end)| [group(&start.client_tls), group(&end.upstream_tls)]).collect()
    };
    // Without it: who prefers it gets what the client would have got there.
    for (dial, agreed) in [(wants, "X25519MLKEM768"), (prefers, "X25519"), (has_none, "X25519")] {
        let run = exeat(dial).run(&["curl", "-sSf", "--curves", "X25519", "https://api.example.com/"]).ok();
        assert_eq!(groups(&run), [["X25519", agreed]], "{run:#?}");
    }
    // BoringSSL, in grpcio, has a share of it in its first message; a status of HTTP is all that it needs here.
    let program = "import grpc
channel = grpc.secure_channel('api.example.com:443', grpc.ssl_channel_credentials())
try:
    channel.unary_unary('/test.Echo/Unary')(b'', timeout=10)
except grpc.RpcError:
    pass";
    for (dial, agreed) in [(prefers, "X25519MLKEM768"), (has_none, "X25519")] {
        let exeat = exeat(dial).sandbox(&format!("read = [\"{}\"]", tools().display()));
        let run = exeat.run(&[&python_tools(), "-c", program]).ok();
        assert_eq!(groups(&run), [["X25519MLKEM768", agreed]], "{run:#?}");
    }
    let agreed = [wanted, preferred, without].map(|agreed| agreed.lock().unwrap().clone());
    assert_eq!(agreed, [vec![HYBRID], vec![NamedGroup::X25519, HYBRID], vec![NamedGroup::X25519; 2]]);
}
