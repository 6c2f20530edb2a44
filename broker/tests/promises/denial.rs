//! No grant, no credential: by the worker's end, and by the broker's when that is bypassed.

use broker::{Client, ClientError};
use config::{Part, Places};
use http::{Method, StatusCode};
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::rig::{agent, destination, from_toml, name, serve, settings, worker};
use crate::wire::Raw;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_the_grant_does_not_list_learns_and_gets_nothing() {
    let endpoint = Endpoint::start().await;
    let (stream, _serving) = serve(settings(&endpoint));
    let client = Client::from_stream(stream).unwrap();
    assert!(client.register(&agent("stranger")).await.unwrap().grants.is_empty());
    let denied = client.lease(&name("api"), &destination("api.example:443")).await;
    assert!(matches!(denied, Err(ClientError::Denied { .. })));

    let (stream, _serving) = serve(settings(&endpoint));
    let mut raw = Raw::registered(stream, "stranger").await;
    let ask = |credential: &str| json!({"credential": credential, "destination": "api.example:443"}).to_string();
    let (status, listed) = raw.send(Method::POST, "/v1/leases", &ask("api")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (_, unknown) = raw.send(Method::POST, "/v1/leases", &ask("xyz")).await;
    assert_eq!(listed["detail"].as_str().unwrap().replace("api", "xyz"), unknown["detail"].as_str().unwrap());
    assert_eq!(endpoint.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_the_grant_does_not_list_gets_no_credential() {
    let endpoint = Endpoint::start().await;
    let others = ["other.example:443", "api.example:8443", "sub.api.example:443", "127.0.0.1:443"];
    let (client, _serving) = worker(settings(&endpoint)).await;
    client.lease(&name("api"), &destination("api.example:443")).await.unwrap(); // in memory, and still not for others
    for other in others {
        let Err(ClientError::Denied { reason }) = client.lease(&name("api"), &destination(other)).await else {
            panic!("{other} was allowed")
        };
        assert!(reason.contains(other), "{reason}");
    }
    let (stream, _serving) = serve(settings(&endpoint));
    let mut raw = Raw::registered(stream, "bot").await;
    for other in others {
        let ask = json!({"credential": "api", "destination": other}).to_string();
        let (status, problem) = raw.send(Method::POST, "/v1/leases", &ask).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    }
    assert_eq!(endpoint.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_worker_has_placeholders_of_its_own() {
    let endpoint = Endpoint::start().await;
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let (stream, _serving) = serve(settings(&endpoint));
        let registration = Client::from_stream(stream).unwrap().register(&agent("bot")).await.unwrap();
        let (grant, placeholder) = &registration.grants[0];
        assert_eq!((grant.credential(), grant.env()), (&name("api"), Some("API_KEY")));
        assert!(placeholder.value().starts_with("exeat_"));
        drawn.push(placeholder.clone());
    }
    assert_ne!(drawn[0], drawn[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_pair_has_two_placeholders_and_one_lease() {
    let text = "[s3]\nissuer = \"fixed\"\nvalue = { env = \"PAIR\" }\nagents = [\"bot\"]\nto = [\"s3.example\"]\n\
                shape = \"aws\"\nenv = [\"ID\", \"KEY\"]\nfiles = [\"aws\"]";
    let mut settings = from_toml(text);
    settings.environment.insert("PAIR".to_owned(), broker::Secret::new("AKIAX:secret"));
    let (stream, _serving) = serve(settings);
    let client = Client::from_stream(stream).unwrap();
    let grants = client.register(&agent("bot")).await.unwrap().grants;
    let shown: Vec<_> = grants
        .iter()
        .map(|(grant, drawn)| (grant.part(), grant.env(), drawn.value().len(), grant.files().len()))
        .collect();
    assert_eq!(shown, [(Part::Secret, Some("KEY"), 40, 1), (Part::Id, Some("ID"), 32, 0)]);
    assert!(grants.iter().all(|(grant, _)| *grant.places() == Places::NONE));
    client.lease(&name("s3"), &destination("s3.example:443")).await.unwrap();
}
