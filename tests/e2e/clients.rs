//! Clients that nobody adapted work as they are: an allowed call gets its answer, a refused one an answer that can be read.

use crate::harness::{Exeat, Run, Upstream, python_tools, tools};

/// Allows `GET /echo…` at api.example.com, with the tests' tools in sight.
fn exeat(upstream: &Upstream) -> Exeat {
    let read = format!("read = [\"{}\"]", tools().display());
    Exeat::new().sandbox(&read).allow_with("api.example.com", upstream, "methods = [\"GET\"]\npaths = [\"/echo/**\"]")
}

/// The client printed `200` for the first call, and for the second `403` and the problem.
#[track_caller]
fn assert_one_answered_one_refused(run: Run, upstream: &Upstream, version: &str) {
    let run = run.ok();
    assert!(run.stdout.contains("200"), "{run:#?}");
    assert!(run.stdout.contains("403"), "{run:#?}");
    assert!(run.stdout.contains("urn:exeat:refusal:path-not-allowed"), "{run:#?}");
    assert!(run.stdout.contains("/refused/here"), "the refusal does not say what it refused: {run:#?}");
    assert_eq!(run.log.refused_kinds(), ["path-not-allowed"]);
    let seen = upstream.only();
    assert_eq!(seen.target, "/echo/here");
    assert_eq!(run.log.calls()[0].http, version);
}

#[test]
fn curl_over_http_1() {
    let upstream = Upstream::start();
    let script = "for path in echo refused; do \
        curl -sS --http1.1 -w '%{http_code} %{http_version} %{content_type}\\n' https://api.example.com/$path/here; done";
    let run = exeat(&upstream).sh(script);
    assert!(run.stdout.contains("200 1.1 application/json"), "{run:#?}");
    assert!(run.stdout.contains("403 1.1 application/problem+json"), "{run:#?}");
    assert_one_answered_one_refused(run, &upstream, "HTTP/1.1");
}

#[test]
fn curl_over_http_2() {
    let upstream = Upstream::start();
    let script = "curl -sS --http2 -w '%{http_code} %{http_version}\\n' \
        https://api.example.com/echo/here https://api.example.com/refused/here";
    let run = exeat(&upstream).sh(script);
    assert!(run.stdout.contains("200 2\n") && run.stdout.contains("403 2\n"), "{run:#?}");
    assert_eq!(upstream.only().version, "HTTP/2.0");
    assert_one_answered_one_refused(run, &upstream, "HTTP/2.0");
}

#[test]
fn each_side_speaks_the_version_that_it_can() {
    for (theirs, option) in [("http/1.1", "--http2"), ("h2", "--http1.1")] {
        let upstream = Upstream::with_alpn(&[theirs]);
        exeat(&upstream).run(&["curl", "-sSf", option, "https://api.example.com/echo/here"]).ok();
        assert_eq!(upstream.only().version, if theirs == "h2" { "HTTP/2.0" } else { "HTTP/1.1" });
    }
}

#[test]
fn an_upstream_that_speaks_both_is_spoken_to_as_its_client_speaks() {
    for (option, version) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
        let upstream = Upstream::with_alpn(&["h2", "http/1.1"]);
        exeat(&upstream).run(&["curl", "-sSf", option, "https://api.example.com/echo/here"]).ok();
        assert_eq!(upstream.only().version, version);
    }
}

#[test]
fn wget() {
    let upstream = Upstream::start();
    let script = "for path in echo refused; do \
        wget -q -S -O - --content-on-error https://api.example.com/$path/here 2>&1 || true; done";
    assert_one_answered_one_refused(exeat(&upstream).sh(script), &upstream, "HTTP/1.1");
}

#[test]
fn python_urllib() {
    let upstream = Upstream::start();
    let run = exeat(&upstream).python(
        "import urllib.request, urllib.error
for path in ('echo', 'refused'):
    try:
        with urllib.request.urlopen(f'https://api.example.com/{path}/here') as answer:
            print(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.status, error.read().decode())",
    );
    assert_one_answered_one_refused(run, &upstream, "HTTP/1.1");
}

#[test]
fn python_requests() {
    let upstream = Upstream::start();
    let program = "import requests
with requests.Session() as session:
    for path in ('echo', 'refused'):
        answer = session.get(f'https://api.example.com/{path}/here')
        print(answer.status_code, answer.json())";
    assert_one_answered_one_refused(exeat(&upstream).run(&[&python_tools(), "-c", program]), &upstream, "HTTP/1.1");
}

#[test]
fn python_httpx() {
    let upstream = Upstream::start();
    let program = "import httpx
with httpx.Client(http2=True) as client:
    for path in ('echo', 'refused'):
        answer = client.get(f'https://api.example.com/{path}/here')
        print(answer.status_code, answer.http_version, answer.json())";
    let run = exeat(&upstream).run(&[&python_tools(), "-c", program]);
    assert!(run.stdout.contains("200 HTTP/2"), "{run:#?}");
    assert_one_answered_one_refused(run, &upstream, "HTTP/2.0");
}

#[test]
fn node_fetch() {
    let upstream = Upstream::start();
    let program = "for (const path of ['echo', 'refused']) {
        const answer = await fetch(`https://api.example.com/${path}/here`);
        console.log(answer.status, await answer.text());
    }";
    let run = exeat(&upstream).run(&["node", "--input-type=module", "-e", program]);
    assert_one_answered_one_refused(run, &upstream, "HTTP/1.1");
}

#[test]
fn a_connection_is_kept_alive_on_both_sides() {
    let upstream = Upstream::start();
    let run = exeat(&upstream).python(
        "import http.client
connection = http.client.HTTPSConnection('api.example.com')
for number in range(20):
    connection.request('GET', f'/echo/{number}')
    assert connection.getresponse().read()",
    );
    let run = run.ok();
    assert_eq!(run.log.calls().len(), 20);
    assert!(run.log.calls().iter().all(|call| call.connection == run.log.calls()[0].connection));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn boto3_uploads_in_chunks_of_its_own_and_only_what_has_no_placeholder() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let exeat = Exeat::new()
        .sandbox(&format!("read = [\"{}\"]", tools().display()))
        .fixed("api", "a-secret-of-the-broker", "to = [\"api.example.com\"]\nenv = \"API_KEY\"\n")
        .allow("www.example.com", &upstream);
    let program = "import boto3, botocore.config, io, os
config = botocore.config.Config(s3={'addressing_style': 'path'}, retries={'total_max_attempts': 1})
s3 = boto3.client('s3', endpoint_url='https://www.example.com', region_name='us-east-1', aws_access_key_id='a', aws_secret_access_key='b', config=config)
for text in ('x' * 200_000, 'x' * 100 + os.environ['API_KEY'], 'x' * 200_000 + os.environ['API_KEY']):
    try:
        s3.put_object(Bucket='status', Key='204', Body=io.BytesIO(text.encode()))
        print('stored')
    except Exception as error:
        print(type(error).__name__)";
    let run = exeat.run(&[&python_tools(), "-c", program]).ok();
    assert_eq!(run.stdout, "stored\nClientError\nClientError\n", "{run:#?}");
    let seen = &upstream.seen()[0];
    assert_eq!(seen.header("content-encoding"), Some("aws-chunked"));
    let body = seen.text();
    assert!(body.contains("xxx\r\n0\r\nx-amz-checksum-") && body.ends_with("\r\n\r\n"), "it is not as boto3 sends it");
    assert!(run.log.refusals().iter().all(|refused| refused.alert), "{run:#?}");
}
