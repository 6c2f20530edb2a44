//! What an agent signed with the placeholders of its pair is signed anew, and only that; everything else that says to be signed is refused
//! in words, and upstream hears nothing of it.

use broker::Secret;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proxy::sign::Claim;

use crate::harness::{Exeat, Run, Seen, Upstream, python_tools, tools};

const ID: &str = "AKIAREALREALREALREAL";
const SECRET: &str = "the/real+secret/of+the/pair+000000000000";

fn exeat(upstream: &Upstream) -> Exeat {
    with_pair(upstream, &format!("{ID}:{SECRET}"))
}

fn with_pair(upstream: &Upstream, pair: &str) -> Exeat {
    let lines =
        "to = [\"api.example.com\"]\nshape = \"aws\"\nenv = [\"AWS_ACCESS_KEY_ID\", \"AWS_SECRET_ACCESS_KEY\"]\n";
    Exeat::new()
        .sandbox(&format!("read = [\"{}\"]", tools().display()))
        .fixed("pair", pair, lines)
        .fixed("other", "the-other-secret", "to = [\"api.example.com\"]\nenv = \"OTHER\"\n")
        .allow_with("api.example.com", upstream, "credential = \"pair\"")
        .allow("www.example.com", upstream)
}

/// Signs by botocore; `sent` sends what it signed, as it is or changed, and gives status and text.
const SIGN: &str = "import datetime, http.client, os, sys, urllib.parse
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
ID, SECRET = os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY']
OURS = Credentials(ID, SECRET)
URL = 'https://api.example.com'
def signed(by=SigV4Auth, pair=OURS, service='dynamodb', method='POST', path='/', data=b'{}', fields={}, **more):
    request = AWSRequest(method=method, url=URL + path, data=data, headers=dict(fields))
    request.context['payload_signing_enabled'] = True
    by(pair, service, 'eu-central-1', **more).add_auth(request)
    return request.prepare()
def sent(request, fields={}, drop=(), data=None, method=None, url=None):
    target = urllib.parse.urlsplit(url or request.url)
    headers = {name: value for name, value in request.headers.items() if name not in drop and name != 'Content-Length'} | fields
    connection = http.client.HTTPSConnection('api.example.com')
    body = request.body if data is None else data
    connection.request(method or request.method, urllib.parse.urlunsplit(('', '', *target[2:])), body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors='replace')
";

fn python(exeat: &Exeat, program: &str) -> Run {
    exeat.run(&[&python_tools(), "-c", &format!("{SIGN}{program}")])
}

/// Checks that a request which an upstream saw is signed with the real pair.
#[track_caller]
fn assert_signed(seen: &Seen) {
    let mut headers = HeaderMap::new();
    for (name, value) in &seen.headers {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    if !headers.contains_key("host") {
        headers.insert("host", HeaderValue::from_static("api.example.com"));
    }
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let claim = Claim::read(&headers, query, jiff::Timestamp::now()).unwrap().expect("a signature");
    assert_eq!(claim.id, ID);
    let secret = Secret::new(SECRET);
    let verified = claim.over(&seen.body).verify(secret.expose(), &seen.method.parse().unwrap(), path, query, &headers);
    verified.unwrap_or_else(|why| panic!("{why}: {seen:#?}"));
    assert!(!seen.text().contains(SECRET), "it is sent");
}

#[test]
fn a_request_of_any_service_is_signed_anew_over_what_goes_upstream() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let upstream = Upstream::with_alpn(alpn);
        let program = "
print(sent(signed(fields={'Content-Type': 'application/x-amz-json-1.0', 'X-Amz-Target': 'T.Get'}))[0])
print(sent(signed(data=b'x' * 200000))[0])
print(sent(signed(service='lambda', path='/echo/arn%3Aaws%3Alambda/a%20b?Qualifier=1&a=%2F'))[0])
print(sent(signed(by=S3SigV4Auth, service='s3', method='PUT', path='/echo/a%20b%24c?acl&x=1', data=b'y' * 100000, fields={'x-amz-meta-note': 'a  b'}))[0])
print(sent(signed(method='GET', data=b'', fields={'Accept-Encoding': 'dcb, gzip', 'Range': 'bytes=0-1'}))[0])
print(sent(signed(by=SigV4QueryAuth, service='sts', method='GET', path='/echo?Action=GetCallerIdentity&Version=2011-06-15', data=b'', expires=60))[0])
print(sent(signed(by=S3SigV4QueryAuth, service='s3', method='GET', path='/echo/key?x=%2B', data=b'', expires=60))[0])
print(sent(signed(), fields={'X-Amz-Security-Token': 'the-agents-own'})[0])
print(sent(signed(fields={'Content-Length': '2', 'TE': 'trailers', 'Cookie': 'a=1', 'Accept-Encoding': 'gzip'}))[0])
print(sent(signed(method='GET', data=b'', fields={'Content-Length': '0'}), fields={'Content-Length': '0'})[0])
";
        let run = python(&exeat(&upstream), program).ok();
        assert_eq!(run.stdout, "200\n".repeat(10), "{run:#?}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 10);
        seen.iter().for_each(assert_signed);
        assert!(seen[4].header("range").is_some(), "no range of an answer can show what is not sent");
        assert!(seen.iter().all(|seen| seen.header("x-amz-security-token").is_none()));
        assert!(run.log.calls().iter().all(|call| call.credential.as_ref().unwrap().places == ["signature"]));
        assert!(!run.log.text.contains("X-Amz-Signature") && !run.log.text.contains("AKIA"), "{}", run.log.text);
    }
}

#[test]
fn a_session_goes_beside_the_signature_and_is_not_seen_inside() {
    const SESSION: &str = "the/session+of/the+pair==";
    let upstream = Upstream::start();
    let program = "
print(sent(signed(path='/echo'))[1])
print(sent(signed(by=S3SigV4QueryAuth, service='s3', method='GET', path='/echo/key', data=b'', expires=60))[1])
";
    let exeat = with_pair(&upstream, &format!("{ID}:{SECRET}:{SESSION}"));
    let run = python(&exeat, program).ok();
    let seen = upstream.seen();
    seen.iter().for_each(assert_signed);
    assert_eq!(seen[0].header("x-amz-security-token"), Some(SESSION));
    assert!(seen[1].target.contains("X-Amz-Security-Token=the%2Fsession%2Bof%2Fthe%2Bpair%3D%3D"), "{seen:#?}");
    assert!(run.stdout.contains("x-amz-security-token"), "the upstream shows what it saw: {run:#?}");
    for part in [SESSION, "the%2Fsession%2Bof", ID, SECRET] {
        assert!(!run.stdout.contains(part) && !run.log.text.contains(part), "{part} is inside: {run:#?}");
    }
}

/// Runs calls each of which prints its status and text, and checks that all were refused so.
#[track_caller]
fn assert_refused(program: &str, kind: &str, said: &[&str]) {
    let upstream = Upstream::start();
    let run = python(&exeat(&upstream), program).ok();
    let kinds = run.log.refused_kinds();
    assert!(!kinds.is_empty() && kinds.iter().all(|own| *own == kind), "{run:#?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!((lines.len(), kinds.len()), (said.len(), said.len()), "{run:#?}");
    for (line, said) in lines.iter().zip(said) {
        assert!(line.starts_with("(403") && line.contains(said), "{said}: {line}");
    }
    upstream.assert_no_request();
}

#[test]
fn a_signature_that_is_not_by_the_placeholders_secret_is_refused() {
    let program = "
one = signed()
print(sent(one, data=b'{} '))
print(sent(one, method='PUT'))
print(sent(one, url=URL + '/other'))
print(sent(one, url=URL + '/?x=1'))
print(sent(one, fields={'Authorization': one.headers['Authorization'][:-1] + ('0' if one.headers['Authorization'][-1] != '0' else '1')}))
print(sent(signed(pair=Credentials(ID, SECRET[::-1]))))
s3 = signed(by=S3SigV4Auth, service='s3')
print(sent(s3, fields={'X-Amz-Content-SHA256': 'UNSIGNED-PAYLOAD'}))
";
    assert_refused(program, "signature", &["not by the secret that exeat gave"; 7]);
}

#[test]
fn a_call_by_another_pair_or_another_method_is_refused() {
    let program = "
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
stranger = Credentials('AKIASTRANGERSTRANGER', 'x' * 40)
print(sent(signed(pair=stranger)))
print(sent(signed(by=S3SigV4QueryAuth, pair=stranger, service='s3', method='GET', data=b'', expires=60)))
one = signed()
print(sent(one, fields={'Authorization': one.headers['Authorization'].replace('HMAC-SHA256', 'ECDSA-P256-SHA256')}))
print(sent(one, fields={'Authorization': 'AWS AKIASTRANGERSTRANGER:c2ln'}))
print(sent(one, drop=['Authorization'], url=URL + '/?AWSAccessKeyId=AKIASTRANGERSTRANGER&Signature=c2ln&Expires=4102444800'))
print(sent(signed(service='s3express')))
";
    let other = "another key pair";
    let method = "a method of AWS other than";
    assert_refused(program, "signature", &[other, other, method, method, method, "S3 Express"]);
}

#[test]
fn a_signature_for_another_time_is_refused() {
    let program = "
import botocore.auth
def at(minutes, **more):
    botocore.auth.get_current_datetime = lambda *_, **__: datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    return signed(**more)
print(sent(at(-16)))
print(sent(at(16)))
print(sent(at(-2, by=S3SigV4QueryAuth, service='s3', method='GET', data=b'', expires=60)))
one = at(0)
print(sent(one, drop=['X-Amz-Date']))
";
    let upstream = Upstream::start();
    let probe =
        python(&exeat(&upstream), "import botocore.auth\nprint(hasattr(botocore.auth, 'get_current_datetime'))").ok();
    assert_eq!(probe.stdout, "True\n", "the clock of botocore is elsewhere");
    let time = "signed for another time";
    assert_refused(program, "signature", &[time, time, time, "no `X-Amz-Date`"]);
}

#[test]
fn neither_half_of_the_pair_goes_anywhere_else() {
    for (what, program) in [
        ("another field", "print(sent(signed(fields={'X-Note': ID})))"),
        ("the query", "print(sent(signed(path='/?id=' + ID)))"),
        ("the body", "print(sent(signed(data=('x' * 100 + SECRET).encode())))"),
        ("a longer body", "print(sent(signed(by=S3SigV4Auth, service='s3', data=('x' * 100000 + SECRET).encode())))"),
        ("beside no signature", "print(sent(signed(), drop=['Authorization'], fields={'X-Id': ID}))"),
        ("another scheme", "print(sent(signed(), fields={'Authorization': 'Bearer ' + SECRET}))"),
    ] {
        let upstream = Upstream::start();
        let run = python(&exeat(&upstream), program).ok();
        assert!(run.stdout.starts_with("(403"), "{what}: {run:#?}");
        assert!(run.stdout.contains("placeholder-misdirected"), "{what}: {run:#?}");
        assert!(run.log.refusals().iter().any(|refused| refused.alert), "{what}: {run:#?}");
        assert!(!upstream.seen().iter().any(|seen| seen.text().replace(ID, "").contains("AKIA")), "{what}");
    }
}

#[test]
fn a_rule_without_the_pair_or_another_host_lets_no_signature_out() {
    let upstream = Upstream::start();
    let program = "
import urllib.error, urllib.request
one = signed()
connection = http.client.HTTPSConnection('www.example.com')
connection.request('POST', '/', b'{}', {'Authorization': one.headers['Authorization'], 'X-Amz-Date': one.headers['X-Amz-Date']})
print(connection.getresponse().status)
";
    let run = python(&exeat(&upstream), program).ok();
    assert_eq!(run.stdout, "403\n");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"]);
    upstream.assert_no_request();
}

#[test]
fn a_body_without_a_digest_is_held_up_to_a_bound_and_one_that_is_longer_is_refused() {
    let upstream = Upstream::start();
    let program = "
print(sent(signed(data=b'x' * (7 << 20)))[0])
try: print(sent(signed(data=b'x' * (9 << 20))))
except OSError as error: print('(403 closed: longer than 8 MiB)')
print(sent(signed(by=S3SigV4Auth, service='s3', data=b'x' * (9 << 20)))[0])
";
    let run = python(&exeat(&upstream), program).ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!((lines[0], lines[2]), ("200", "200"), "{run:#?}");
    assert!(lines[1].starts_with("(403") && lines[1].contains("longer than 8 MiB"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["signature"]);
    assert_eq!(upstream.seen().len(), 2);
}
