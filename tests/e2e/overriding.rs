//! A form that has a framework take its call for one of another method is ended before the value is upstream, however the form is sent.

use std::fs;
use std::time::Duration;

use crate::approve::{ask, calling, guarded, the_request};
use crate::credentials::SECRET;
use crate::harness::{Exeat, RawUpstream, Run, TokenEndpoint, Upstream, within};

/// What must not arrive.
const VALUE: &str = "DELETE-it-all";

/// GET and POST at api.example.com, in bodies with a credential at forms.example.com, and all there is at www.example.com.
fn run(upstream: &RawUpstream, script: &str) -> Run {
    let rule = |to: &str, lines: &str| format!("[[allow]]\nto = \"{to}\"\ndial = \"{}\"\n{lines}\n", upstream.dial());
    let methods = "methods = [\"GET\", \"POST\"]";
    Exeat::new()
        .fixed("api", SECRET, "to = [\"forms.example.com\"]\nin = [\"body\"]\nenv = \"API_KEY\"\n")
        .rule(&rule("api.example.com", methods))
        .rule(&rule("forms.example.com", &format!("{methods}\ncredential = \"api\"")))
        .rule(&rule("www.example.com", ""))
        .sh(script)
        .ok()
}

/// Sends the form in `file`, in these ways: of unknown length, of a known one, and coded.
const WAYS: [&str; 3] = [
    "-H 'Transfer-Encoding: chunked' --data-binary @file",
    "--data-binary @file",
    "-H 'Content-Encoding: gzip' --data-binary \"@$(gzip -kf file; echo file.gz)\"",
];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn nothing_of_the_value_is_upstream_however_the_form_is_sent() {
    let pairs =
        format!("(printf a=1; %s; printf '&%%5Fmethod={VALUE}') > file; kind=application/x-www-form-urlencoded");
    let part = "--x\\r\\nContent-Disposition: form-data;";
    let parts = format!(
        "(printf '{part} name=a\\r\\n\\r\\n'; %s; printf '\\r\\n{part} name=\"_method\"\\r\\n\\r\\n{VALUE}\\r\\n--x--\\r\\n') > file; \
         kind='multipart/form-data; boundary=x'"
    );
    let members = format!(
        "(printf '{{\"a\":\"'; %s; printf '\",\"\\\\u005fmethod\":\"{VALUE}\"}}') > file; kind=application/json"
    );
    for form in [pairs, parts, members] {
        for filler in [":", "head -c 300000 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'"] {
            for way in WAYS {
                let upstream = RawUpstream::start(ANSWER);
                let curl = format!(
                    "curl -sS -m 20 -w '%{{http_code}}' -H \"Content-Type: $kind\" {way} https://api.example.com/"
                );
                let run = run(&upstream, &format!("{}\n{curl}", form.replace("%s", filler)));
                assert!(run.stdout.ends_with("400") && run.stdout.contains("_method"), "{filler} {way}: {run:#?}");
                assert_nothing_of_it(&upstream);
            }
        }
    }
}

#[test]
fn nothing_of_the_value_is_upstream_where_a_credential_goes_into_forms() {
    for filler in [":", "head -c 300000 /dev/zero | tr '\\0' x"] {
        let upstream = RawUpstream::start(ANSWER);
        let form = format!("(printf a=$API_KEY; {filler}; printf '&_method={VALUE}') > file");
        let run = run(
            &upstream,
            &format!("{form}\ncurl -sS -w '%{{http_code}}' --data-binary @file https://forms.example.com/"),
        );
        assert!(run.stdout.ends_with("400") && run.stdout.contains("_method"), "{filler}: {run:#?}");
        assert_nothing_of_it(&upstream);
    }
}

#[test]
fn other_forms_pass_and_so_does_any_where_no_call_is_told_apart() {
    for (host, name) in [("api", "a_method"), ("www", "_method")] {
        for way in WAYS {
            let upstream = RawUpstream::start(ANSWER);
            let form = format!("(printf a=1; head -c 300000 /dev/zero | tr '\\0' x; printf '&{name}={VALUE}') > file");
            let run = run(&upstream, &format!("{form}\ncurl -sSf {way} https://{host}.example.com/"));
            assert_eq!(run.stdout, "ok", "{host} {way}: {run:#?}");
            assert!(way.contains("gzip") || text(&upstream).contains(VALUE), "{host} {way}");
        }
    }
}

#[test]
fn a_form_that_waited_while_calls_came_to_be_told_apart_has_to_be_sent_again() {
    let (upstream, issuer) = (Upstream::start(), TokenEndpoint::start(300));
    let exeat = guarded(&upstream, &issuer, "30s");
    let call = "curl -sS -w 'then %{http_code}' -H \"Authorization: Bearer $API_KEY\" https://api.example.com/upload";
    let live = calling(&exeat, &format!("{call} -d _method=DELETE"));
    let (id, _) = the_request(&exeat);
    let policy = fs::read_to_string(exeat.policy_file()).unwrap();
    let apart = policy.replace("credential = \"api\"", "credential = \"api\"\nmethods = [\"POST\"]");
    assert_ne!(policy, apart);
    fs::write(exeat.policy_file(), apart).unwrap();
    within(Duration::from_secs(20), "the policy", || live.log().text.contains("policy-reloaded"));
    ask(&exeat, &["approve", &id]).ok();
    let run = live.finish().ok();
    assert!(run.stdout.contains("send it again") && run.stdout.ends_with("then 415"), "{run:#?}");
    upstream.assert_untouched();
}

fn text(upstream: &RawUpstream) -> String {
    String::from_utf8_lossy(&upstream.received().concat()).into_owned()
}

/// Also not of what decodes to it: a coded form ends before its last byte.
#[track_caller]
fn assert_nothing_of_it(upstream: &RawUpstream) {
    let received = text(upstream);
    assert!(!received.contains(&VALUE[..6]), "{}", &received[received.len().saturating_sub(200)..]);
    let whole =
        upstream.received().iter().any(|bytes| crate::harness::requests(bytes).is_ok_and(|whole| !whole.is_empty()));
    assert!(!whole, "a whole request");
}
