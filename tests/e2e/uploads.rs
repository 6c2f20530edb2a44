//! What of a request comes after its answer has begun, or is over, is judged, counted and recorded like the rest.

use std::time::Duration;

use crate::credentials::SECRET;
use crate::harness::{Exeat, Run, Upstream, within};

/// `api` goes into bodies of JSON at api.example.com; `other` goes nowhere that these tests call.
fn exeat(upstream: &Upstream) -> Exeat {
    Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n")
        .fixed("other", "the-other-secret", "to = [\"other.example.com\"]\nenv = \"OTHER_KEY\"\n")
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .allow("www.example.com", upstream)
}

/// Sends what goes upstream in pieces half a second apart: the last when the answer has long come. Prints that, or that there was none.
const SLOW: &str = "import http.client, os, sys, time
host, path, key, kind = sys.argv[1:]
def pieces():
    yield b'[\"%s\",' % os.environ.get(key, 'no key').encode()
    time.sleep(0.5)
    yield b'\"%s\",' % (b'x' * 300_000)
    time.sleep(0.5)
    yield b'\"%s\"]' % os.environ.get(key, 'no key').encode()
connection = http.client.HTTPSConnection(host)
connection.putrequest('POST', path)
connection.putheader('Transfer-Encoding', 'chunked')
connection.putheader('Content-Type', kind)
connection.endheaders()
time.sleep(0.5)
try:
    for piece in pieces():
        connection.send(b'%x\\r\\n%s\\r\\n' % (len(piece), piece))
    connection.send(b'0\\r\\n\\r\\n')
    answer = connection.getresponse()
    print(answer.status, answer.read().decode())
except (OSError, http.client.HTTPException) as error:
    print(repr(error))";

fn slow(exeat: &Exeat, [host, path, key, kind]: [&str; 4]) -> Run {
    exeat.run(&["python3", "-c", SLOW, host, path, key, kind]).ok()
}

#[test]
fn what_goes_on_behind_an_answer_that_is_whole_is_in_the_end_of_its_record() {
    for alpn in ["http/1.1", "h2"] {
        for (path, told) in
            [("/early/whole", "200 whole\n\n".to_owned()), ("/early/head", format!("200 {}\n\n", LENGTH))]
        {
            let upstream = Upstream::with_alpn(&[alpn]);
            let run = slow(&exeat(&upstream), ["api.example.com", path, "API_KEY", "application/json"]);
            assert_eq!(run.stdout, told, "{alpn}");
            within(Duration::from_secs(10), "the body", || upstream.only().body.len() == 256 * 1024);
            let ends = run.log.ends();
            assert_eq!(
                (ends.len(), ends[0].outcome.as_ref(), ends[0].status),
                (1, "done", Some(200)),
                "{alpn}: {run:#?}"
            );
            assert_eq!((ends[0].sent, ends[0].swapped), (LENGTH as u64, 2), "{alpn} {path}");
            assert!(ends[0].total_ms > ends[0].head_ms.unwrap() + 500.0, "{alpn} {path}: {ends:#?}");
        }
    }
}

/// What [`SLOW`] sends, with the credential in it.
const LENGTH: usize = 2 * SECRET.len() + 300_000 + 10;

#[test]
fn a_placeholder_that_does_not_go_there_is_an_alert_also_when_the_answer_has_come() {
    for alpn in ["http/1.1", "h2"] {
        for path in ["/early/whole", "/early/head"] {
            // Only looked at, and looked at where another credential is put in.
            for (host, kind) in [("www.example.com", "text/plain"), ("api.example.com", "application/json")] {
                let upstream = Upstream::with_alpn(&[alpn]);
                let run = slow(&exeat(&upstream), [host, path, "OTHER_KEY", kind]);
                assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{alpn} {path} {host}: {run:#?}");
                assert!(run.log.refusals()[0].alert && run.log.refusals()[0].path.as_deref() == Some(path), "{run:#?}");
                let ends = run.log.ends();
                assert_eq!(
                    (ends.len(), ends[0].outcome.as_ref(), ends[0].status),
                    (1, "refused", Some(200)),
                    "{run:#?}"
                );
                assert!(ends[0].reason.as_ref().unwrap().contains("the placeholder of credential `other`"), "{run:#?}");
                assert!(upstream.seen().iter().all(|seen| !seen.text().contains("exeat_")), "part of it went upstream");
            }
        }
    }
}

#[test]
fn who_is_told_early_that_it_is_too_much_may_stop_and_is_no_alert() {
    for version in ["--http1.1", "--http2"] {
        for alpn in ["http/1.1", "h2"] {
            let upstream = Upstream::with_alpn(&[alpn]);
            let curl =
                format!("head -c 30000000 /dev/zero | curl -sS {version} -T - https://www.example.com/early/413");
            // Some clients take the end of their upload for the end of the call: what they show of the answer is theirs.
            let run = exeat(&upstream).sh(&curl);
            let ends = run.log.ends();
            assert_eq!((ends.len(), ends[0].status), (1, Some(413)), "{version} {alpn}: {run:#?}");
            assert!(["done", "abandoned"].contains(&&*ends[0].outcome), "{version} {alpn}: {run:#?}");
            assert!(run.log.refusals().is_empty() && ends[0].sent < 30_000_000, "{version} {alpn}: {run:#?}");
        }
    }
}
