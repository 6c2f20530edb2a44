//! The invariants about credentials and placeholders: 3, 4, 5 and 10.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use broker::ledger::State;
use rustix::process::Signal;

use crate::credentials::{SECRET, leased};
use crate::harness::{Exeat, RawUpstream, TokenEndpoint, Upstream, assert_nowhere_below, memory_of, within};

#[test]
fn invariant_3_no_real_credential_is_ever_in_the_sandbox() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = leased(&upstream, &issuer);
    let mut live = exeat.start(&[
        "python3",
        "-c",
        "import os, time, urllib.request
kept = []
for way in ('leak/plain', 'leak/head', 'leak/pieces', 'leak/json', 'leak/base64', 'leak/percent', 'coded/gzip', 'trailers', 'echo'):
    request = urllib.request.Request('https://api.example.com/' + way, headers={'Authorization': 'Bearer ' + os.environ['API_KEY']})
    answer = urllib.request.urlopen(request)
    kept.append((answer.headers, answer.read()))
print('kept', flush=True)
time.sleep(60)",
        "4703.1",
    ]);
    live.wait_for("kept");
    let issued = issuer.issued().remove(0);
    assert_eq!(upstream.seen().len(), 9);
    let memory = memory_of("4703.1");
    assert!(memory.len() > 1 << 20, "the memory could not be read");
    let has = |memory: &[u8], text: &str| memory.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has(&memory, "exeat_"), "the placeholder is there, so the search works");
    assert!(!has(&memory, &issued), "the short-lived credential is in the sandbox's memory");
    assert!(!has(&memory, TokenEndpoint::SECRET), "the long-lived secret is in the sandbox's memory");
    live.signal(Signal::TERM);
    live.finish();
    assert!(issuer.all_revoked());
}

#[test]
fn invariant_4_a_placeholder_goes_upstream_nowhere() {
    let upstream = RawUpstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let dial = upstream.dial();
    let exeat = Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n")
        .fixed("gone", "x-of-the-gone-host", "to = [\"gone.example.com\"]\nenv = \"GONE_KEY\"\n")
        .rule(&format!("[[allow]]\nto = \"api.example.com\"\ndial = \"{dial}\"\ncredential = \"api\""))
        .rule(&format!("[[allow]]\nto = \"gone.example.com\"\ndial = \"{dial}\"\ncredential = \"gone\""))
        .rule(&format!("[[allow]]\nto = \"www.example.com\"\ndial = \"{dial}\""));
    fs::remove_file(exeat.config("secrets/gone")).unwrap();
    let run = exeat.python(
        "import base64, http.client, os, urllib.parse
key = os.environ['API_KEY']
print(key, os.environ['GONE_KEY'])
basic = base64.b64encode(('user:' + key).encode()).decode()
percent = ''.join('%%%02x' % letter for letter in key.encode())
escaped = ''.join('\\\\u%04x' % letter for letter in key.encode())
halves = key[:16] + '%' + '%02x' % ord(key[16]) + key[17:]
def call(host, path='/', headers={}, body=None, chunked=False):
    try:
        connection = http.client.HTTPSConnection(host)
        connection.request('POST', path, body, headers, encode_chunked=chunked)
        print(host, connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        print(host, type(error).__name__)
for host in ('www.example.com', 'api.example.com'):
    for spelt in (key, percent, halves):
        call(host, '/' + spelt)
        call(host, '/?q=' + spelt)
    for spelt in (key, basic, percent, escaped):
        call(host, headers={'Content-Type': 'application/json'}, body='{\"a\": \"' + spelt + '\"}')
        if host != 'api.example.com' or spelt != key:
            call(host, headers={'X-Any': spelt})
    call(host, headers={'Authorization': 'Basic ' + basic})
    call(host, headers={'Transfer-Encoding': 'chunked'}, body=iter([key[:10].encode(), key[10:].encode()]), chunked=True)
    call(host, headers={key: 'as a name'})
call('gone.example.com', headers={'X-Key': os.environ['GONE_KEY']})
call('api.example.com', headers={'X-Key': key})",
    );
    let run = run.ok();
    let (api, gone) = run.stdout.lines().next().unwrap().split_once(' ').unwrap();
    let sent: Vec<u8> = upstream.received().concat();
    let text = String::from_utf8_lossy(&sent).into_owned();
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
    for placeholder in [api, gone] {
        assert!(!text.contains(placeholder) && !decoded.contains(placeholder), "{text}");
        // Base64 shows it at one of three alignments; its middle is the same whatever stood before it.
        for alignment in 0..3 {
            use base64::Engine;
            let encoded = base64::prelude::BASE64_STANDARD_NO_PAD.encode(&placeholder[alignment..]);
            assert!(!text.contains(&encoded[4..encoded.len() - 4]), "{text}");
        }
    }
    assert!(run.stdout.ends_with("gone.example.com 503\napi.example.com 200\n"), "{run:#?}");
    // A body of unknown length shows its placeholder when its head is upstream already; such a call breaks off.
    let broke_off: BTreeSet<u64> =
        run.log.ends().into_iter().filter(|end| end.outcome == "refused").map(|end| end.call).collect();
    let whole = run.log.calls().into_iter().filter(|call| !broke_off.contains(&call.call));
    let reached: BTreeSet<String> = whole.map(|call| call.to.clone()).collect();
    assert_eq!(reached, ["api.example.com:443".to_owned()].into(), "{run:#?}");
    assert!(
        run.log.refusals().iter().all(|refused| refused.alert || refused.kind == "credential-unavailable"),
        "{run:#?}"
    );
}

#[test]
fn invariant_5_a_credential_goes_only_where_its_grant_says() {
    let (right, wrong, forged, plain) =
        (Upstream::start(), Upstream::start(), Upstream::untrusted(), Upstream::plain());
    let exeat = Exeat::new()
        .fixed(
            "api",
            SECRET,
            "to = [\"api.example.com\", \"forged.example.com\", \"port.example.com:8443\"]\nenv = \"API_KEY\"\n",
        )
        .allow_with("api.example.com", &right, "credential = \"api\"")
        .allow_with("forged.example.com", &forged, "credential = \"api\"")
        .allow_with("port.example.com:8443", &right, "credential = \"api\"")
        .allow_with("port.example.com", &wrong, "")
        .allow_with("api.example.com:8443", &wrong, "")
        .allow_with("api.example.com:80", &plain, "");
    let script = "for url in https://api.example.com https://forged.example.com https://port.example.com:8443 \
            https://port.example.com https://api.example.com:8443 http://api.example.com; do \
            curl -sS -o /dev/null -w '%{http_code} ' -H \"X-Key: $API_KEY\" $url/echo; done";
    assert_eq!(exeat.sh(script).ok().stdout, "200 502 200 403 403 403 ");
    assert_eq!(right.seen().iter().filter(|seen| seen.text().contains(SECRET)).count(), 2);
    for upstream in [wrong, forged, plain] {
        upstream.assert_no_request();
    }
}

#[test]
fn invariant_10_leases_are_revoked_however_the_worker_ends_or_kept_and_tried_again() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    issuer.set_revokes(false);
    let exeat = leased(&upstream, &issuer);
    let script = "curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo; echo called; sleep 60";
    let mut live = exeat.start(&["sh", "-c", script]);
    live.wait_for("called");
    live.signal(Signal::KILL);
    live.finish();
    within(Duration::from_secs(10), "the lease kept", || exeat.last_lease_is(State::Kept));
    assert_nowhere_below(&exeat.state(), &[&issuer.issued()[0]]);
    issuer.set_revokes(true);
    within(Duration::from_secs(15), "the lease revoked after all", || issuer.all_revoked());
    within(Duration::from_secs(5), "the revocation in the ledger", || exeat.last_lease_is(State::Revoked));
    // One that could not be revoked is shown to whoever started the command, too.
    issuer.set_revokes(false);
    let run = exeat.sh("curl -sSf -H \"Authorization: Bearer $API_KEY\" https://api.example.com/echo").ok();
    assert_eq!((run.log.end().revoked, run.log.end().kept), (0, 1));
    assert!(run.stderr.contains("api"), "it is not shown: {run:#?}");
    issuer.set_revokes(true);
    within(Duration::from_secs(15), "that one revoked", || issuer.all_revoked());
}
