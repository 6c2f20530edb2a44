//! GitHub, Google and Entra as issuers: what becomes of their credentials when a worker ends, and what is in the ledger where an answer is
//! broken. The servers here are a fake: it answers what each test says, path by path, and shows what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::ledger::State;
use broker::{Secret, Settings};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::rig::{from_toml, kept_in, lease, the_lease, worker};

/// What was asked: method and path, the bearer, the body.
type Asked = (String, Option<String>, String);

#[derive(Default)]
struct Told {
    answers: VecDeque<(u16, String)>,
    asked: Vec<Asked>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Told>>);

impl Fake {
    /// A server that gives these answers one after the other, and its URL.
    async fn start(answers: &[(u16, &str)]) -> (Fake, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Fake::default();
        fake.0.lock().unwrap().answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let serving = fake.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let fake = serving.clone();
                let answer = service_fn(move |request| fake.clone().answer(request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        (fake, url)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let bearer = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let mut state = self.0.lock().unwrap();
        state.asked.push((format!("{} {}", head.method, head.uri), bearer, body));
        let (status, body) = state.answers.pop_front().unwrap_or((500, String::new()));
        Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
    }

    fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn credential(lines: &str) -> Settings {
    from_toml(&format!("[api]\n{lines}\nagents = [\"bot\"]\nto = [\"api.example\"]\nenv = \"API_KEY\"\n"))
}

fn github(url: &str) -> Settings {
    let mut settings = credential(&format!(
        "issuer = \"github-app\"\napi = \"{url}\"\nclient_id = \"Iv1.x\"\ninstallation_id = 7\nkey = {{ env = \"APP_KEY\" }}\n\
         repositories = [\"website\"]\npermissions = {{ contents = \"read\" }}"
    ));
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let key = STANDARD.encode(key.as_der().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    settings.environment.insert("APP_KEY".to_owned(), Secret::new(pem));
    settings
}

fn google(url: &str) -> Settings {
    credential(&format!(
        "issuer = \"google-sts\"\nprovider = \"projects/1/locations/global/workloadIdentityPools/p/providers/x\"\n\
         token_endpoint = \"{url}/v1/token\"\ncredentials_endpoint = \"{url}\"\nscope = [\"a\", \"b\"]\n\
         service_account = \"bot@project.iam.gserviceaccount.com\"\nlifetime = \"2m\""
    ))
}

fn azure(url: &str) -> Settings {
    credential(&format!(
        "issuer = \"azure-federated\"\nauthority = \"{url}\"\ntenant = \"t\"\nclient_id = \"c\"\nscope = \"s/.default\""
    ))
}

const MADE: &str = "{\"token\": \"of-any-look\", \"expires_at\": \"2999-01-01T00:00:00Z\"}";
const FEDERATED: &str = "{\"access_token\": \"federated\", \"token_type\": \"Bearer\", \"expires_in\": 3600}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_github_gave_is_ended_by_itself_and_tried_again_until_github_knows_it_no_longer() {
    let (fake, url) = Fake::start(&[(201, MADE), (503, ""), (401, "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let (client, serving) = worker(kept_in(directory.path(), github(&url))).await;
    let held = lease(&client).await.unwrap();
    let hour = SystemTime::now() + Duration::from_secs(3600);
    assert!(held.secret.expose() == "of-any-look" && held.expires.unwrap() <= hour);
    let ended = client.end().await.unwrap();
    assert!(ended.kept[0].again && ended.kept[0].reason.contains("503"), "{ended:?}");
    assert!(serving.await.unwrap().unwrap().is_empty());
    assert_eq!(the_lease(directory.path()).state, State::Revoked);
    let asked = fake.asked();
    assert_eq!(asked[0].0, "POST /app/installations/7/access_tokens");
    let delete = ("DELETE /installation/token".to_owned(), Some("Bearer of-any-look".to_owned()), String::new());
    assert_eq!(asked[1..], [delete.clone(), delete]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_made_is_shown_and_what_was_refused_is_not() {
    for (answers, expected) in [
        (&[(422, "{}")][..], State::Refused),
        (&[(201, "{}")], State::Unanswered),
        (&[(201, "{\"token\": \"x\", \"expires_at\": \"2001-01-01T00:00:00Z\"}")], State::Unanswered),
    ] {
        let (_fake, url) = Fake::start(answers).await;
        let directory = tempfile::tempdir().unwrap();
        let (client, _serving) = worker(kept_in(directory.path(), github(&url))).await;
        assert!(lease(&client).await.is_err());
        assert_eq!(the_lease(directory.path()).state, expected, "{answers:?}");
    }
    for (answers, expected) in [
        (&[(400, "{\"error\": \"invalid_grant\"}")][..], State::Refused),
        (&[(200, FEDERATED), (403, "{}")], State::Refused),
        (&[(200, FEDERATED), (200, "{}")], State::Unanswered),
    ] {
        let (_fake, url) = Fake::start(answers).await;
        let directory = tempfile::tempdir().unwrap();
        let (client, _serving) = worker(kept_in(directory.path(), google(&url))).await;
        assert!(lease(&client).await.is_err());
        assert_eq!(the_lease(directory.path()).state, expected, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_accounts_access_is_asked_for_by_the_workers_own_and_no_longer_than_the_file_says() {
    let generated = "{\"accessToken\": \"of-the-account\", \"expireTime\": \"2999-01-01T00:00:00Z\"}";
    let (fake, url) = Fake::start(&[(200, FEDERATED), (200, generated)]).await;
    let (client, serving) = worker(google(&url)).await;
    let held = lease(&client).await.unwrap();
    assert_eq!(held.secret.expose(), "of-the-account");
    assert!(held.expires.unwrap() <= SystemTime::now() + Duration::from_secs(120));
    let asked = fake.asked();
    let (path, bearer, body) = &asked[1];
    assert_eq!(path, "POST /v1/projects/-/serviceAccounts/bot@project.iam.gserviceaccount.com:generateAccessToken");
    assert_eq!(bearer.as_deref(), Some("Bearer federated"));
    assert_eq!(body, "{\"scope\":[\"a\",\"b\"],\"lifetime\":\"120s\"}");
    let ended = client.end().await.unwrap();
    assert!(!ended.kept[0].again && ended.kept[0].reason.contains("Google"), "{ended:?}");
    let left = serving.await.unwrap().unwrap();
    assert_eq!((left.len(), left[0].lease), (1, held.id));
    assert_eq!(fake.asked().len(), 2, "nobody is asked to revoke it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_entra_gave_is_shown_until_it_runs_out() {
    let (fake, url) = Fake::start(&[(200, FEDERATED)]).await;
    let (client, serving) = worker(azure(&url)).await;
    let held = lease(&client).await.unwrap();
    assert_eq!((fake.asked()[0].0.as_str(), &fake.asked()[0].1), ("POST /t/oauth2/v2.0/token", &None));
    let ended = client.end().await.unwrap();
    assert!(!ended.kept[0].again && ended.kept[0].reason.contains("Entra"), "{ended:?}");
    assert_eq!(serving.await.unwrap().unwrap()[0].lease, held.id);
}
