//! A rule that looks into bodies, asked as the proxy's exchange asks it.

use std::sync::LazyLock;

use bytes::Bytes;
use config::{CallFacts, Destination, Method, NormalPath, Policy, Scheme};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use proxy::error::Refusal;
use proxy::request::{Beside, Call};
use proxy::swap::Swap;
use proxy::tool::{Asked, Room, judge};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
static ROOM: LazyLock<Room> = LazyLock::new(|| Room::new(|_| {}));

pub struct Judging {
    policy: Policy,
    swap: Swap,
}

impl Judging {
    /// By the one rule that has this line.
    pub fn by(line: &str) -> Self {
        let text = format!("[[allow]]\nto = \"api.example.com\"\n{line}\n");
        let policy = Policy::parse("fuzz".parse().expect("a name"), "fuzz.toml", &text).expect("a policy");
        Self { policy, swap: Swap::new(Vec::new()) }
    }

    /// What the call asks for, or the kind of its refusal.
    pub fn judge(&self, method: &str, query: Option<&str>, body: &[u8]) -> Result<Asked, &'static str> {
        let destination: Destination = "api.example.com:443".parse().expect("a destination");
        let method: Method = method.parse().expect("a method");
        let path = NormalPath::parse("/").expect("a path");
        let facts = CallFacts { destination: &destination, scheme: Scheme::Https, method: &method, path: &path };
        let permit = self.policy.call(&facts).expect("the rule allows it");
        let call = Call {
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            query: query.map(str::to_owned),
            scheme: Scheme::Https,
            version: http::Version::HTTP_11,
            trace: None,
            beside: Beside::default(),
            signed_head: None,
            destination,
            method,
            path,
        };
        let body = Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {}).boxed_unsync();
        let judged = RUNTIME.block_on(judge(&ROOM, &self.swap, &permit, &call, false, body));
        judged.map(|(_, asked)| asked).map_err(|refusal| match refusal {
            Refusal::Tool(objection) => objection.kind(),
            other => panic!("{other}"),
        })
    }
}
