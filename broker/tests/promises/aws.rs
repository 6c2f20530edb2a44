//! A role at AWS for a worker's identity, and key pairs. The STS here is a fake: it answers as the API reference says, and shows what it
//! was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use broker::{ClientError, KeyPair, Secret};
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::rig::{destination, from_toml, name, worker};

const ROLE: &str = "arn:aws:iam::123456789012:role/agents";

type Asked = Arc<Mutex<Vec<HashMap<String, String>>>>;

/// A fake STS, with a status and what it answers.
async fn fake_sts(status: u16, body: &'static str) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let answer = service_fn(|request| answer(request, status, body, Arc::clone(&seen)));
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    (url, asked)
}

async fn answer(
    request: Request<Incoming>,
    status: u16,
    body: &'static str,
    seen: Asked,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()[ACCEPT], "text/xml", "in JSON it would be another answer");
    let form = request.into_body().collect().await.unwrap().to_bytes();
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let form = std::str::from_utf8(&form).unwrap().split('&').filter_map(|field| field.split_once('='));
    seen.lock().unwrap().push(form.map(|(name, value)| (decode(name), decode(value))).collect());
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

fn settings(endpoint: &str) -> broker::Settings {
    from_toml(&format!(
        "[s3]\nissuer = \"aws-sts\"\nrole = \"{ROLE}\"\nendpoint = \"{endpoint}\"\nduration = \"1h\"\nshape = \"aws\"\n\
         session_policy = '{{\"Version\":\"2012-10-17\",\"Statement\":[]}}'\nagents = [\"bot\"]\nto = [\"s3.example\"]\n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_taken_on_by_who_the_worker_is_and_its_session_is_a_pair_that_runs_out() {
    let (url, asked) = fake_sts(
        200,
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAX</AccessKeyId>\
         <SecretAccessKey>s/+</SecretAccessKey><SessionToken>t==</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
    )
    .await;
    let (client, serving) = worker(settings(&url)).await;
    let held = client.lease(&name("s3"), &destination("s3.example:443")).await.unwrap();
    let pair = KeyPair::read(&held.secret).unwrap();
    assert_eq!((&*pair.id, pair.secret.expose(), pair.session.unwrap().expose()), ("ASIAX", "s/+", "t=="));
    let left = held.expires.unwrap().duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((3590..=3600).contains(&left), "{left}");

    let form = asked.lock().unwrap().remove(0);
    let field = |name: &str| form[name].as_str();
    assert_eq!((field("Action"), field("Version")), ("AssumeRoleWithWebIdentity", "2011-06-15"));
    assert_eq!((field("RoleArn"), field("DurationSeconds")), (ROLE, "3600"));
    assert_eq!(field("Policy"), "{\"Version\":\"2012-10-17\",\"Statement\":[]}");
    assert!(field("RoleSessionName").starts_with("bot@") && field("RoleSessionName").len() <= 64, "{form:?}");
    assert_eq!(field("WebIdentityToken").split('.').count(), 3);

    let ended = client.end().await.unwrap();
    assert_eq!((ended.kept[0].lease, ended.kept[0].again), (held.id, false));
    assert!(ended.kept[0].reason.contains("no single session back"), "{}", ended.kept[0].reason);
    assert_eq!(serving.await.unwrap().unwrap()[0].lease, held.id, "it is shown until it runs out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sts_says_instead_is_told_by_its_code_alone() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>hunter2</Message></Error>\
                   </ErrorResponse>";
    for (status, body, said) in [(400, refusal, "400 InvalidIdentityToken"), (200, "<a>hunter2</a>", "unusable")] {
        let (url, _) = fake_sts(status, body).await;
        let (client, _serving) = worker(settings(&url)).await;
        let refused = client.lease(&name("s3"), &destination("s3.example:443")).await;
        let Err(ClientError::Unavailable { reason }) = refused else { panic!("it was available") };
        assert!(reason.contains(said) && !reason.contains("hunter2"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_pair_is_one_line_and_anything_else_is_refused_in_words() {
    for (value, good) in
        [("AKIAX:secret/+", true), ("AKIAX:secret:session==", true), ("secret", false), ("A:b:c:d", false)]
    {
        let text = "[s3]\nissuer = \"fixed\"\nvalue = { env = \"PAIR\" }\nshape = \"aws\"\nagents = [\"bot\"]\nto = [\"s3.example\"]\n";
        let mut settings = from_toml(text);
        settings.environment.insert("PAIR".to_owned(), Secret::new(value));
        let (client, _serving) = worker(settings).await;
        match client.lease(&name("s3"), &destination("s3.example:443")).await {
            Ok(held) => assert!(good && KeyPair::read(&held.secret).unwrap().id == "AKIAX", "{value}"),
            Err(ClientError::Unavailable { reason }) => {
                assert!(!good && reason.contains("`ID:SECRET`") && !reason.contains(value), "{value}: {reason}");
            }
            Err(error) => panic!("{value}: {error}"),
        }
    }
}
