//! What a field names, as its own readers and lenient ones read it.

use http::header::HeaderMap;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;
use crate::request::Beside;

fn call(host: &str, method: &str, fields: &[(&'static str, &'static str)]) -> Call {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    Call {
        destination: Destination::parse_authority(host, 443).unwrap(),
        scheme: Scheme::Https,
        method: method.parse().unwrap(),
        path: NormalPath::parse("/box/new").unwrap(),
        query: None,
        version: http::Version::HTTP_11,
        headers: HeaderMap::from_iter(fields.iter().map(field)),
        trace: None,
        beside: Beside::default(),
        signed_head: None,
    }
}

fn found(host: &str, method: &str, fields: &[(&'static str, &'static str)]) -> Result<Vec<String>, Refusal> {
    let told = |other: &Elsewhere| {
        format!("{} {}://{}{}", other.method, other.scheme.as_str(), other.destination, other.path.as_str())
    };
    Ok(elsewhere(&call(host, method, fields))?.iter().map(told).collect())
}

#[test]
fn what_is_copied_or_renamed_is_a_call_of_its_own() {
    for (host, method, field, value, others) in [
        ("s3.example.com", "PUT", "x-amz-copy-source", "box/old", &["GET https://s3.example.com:443/box/old"][..]),
        (
            "s3.example.com",
            "PUT",
            "x-amz-copy-source",
            "/box/a%20b%2Bc?versionId=x.1_-",
            &["GET https://s3.example.com:443/box/a%20b%2Bc"],
        ),
        (
            "box.s3.eu-west-1.amazonaws.com",
            "PUT",
            "x-amz-copy-source",
            "box/old",
            &["GET https://box.s3.eu-west-1.amazonaws.com:443/old"],
        ),
        ("x.s3.s3.amazonaws.com", "PUT", "x-amz-copy-source", "x/old", &["GET https://x.s3.amazonaws.com:443/old"]),
        (
            "box.storage.googleapis.com",
            "PUT",
            "x-goog-copy-source",
            "/other/old",
            &["GET https://other.storage.googleapis.com:443/old"],
        ),
        (
            "dfs.example.com",
            "PUT",
            "x-ms-rename-source",
            "/fs/old",
            &["GET https://dfs.example.com:443/fs/old", "DELETE https://dfs.example.com:443/fs/old"],
        ),
        (
            "a.example.com",
            "PUT",
            "x-ms-copy-source",
            "https://b.example.com/c/d?sig=a%2Fb",
            &["GET https://b.example.com:443/c/d"],
        ),
        (
            "dav.example.com",
            "MOVE",
            "destination",
            "https://dav.example.com:443/box/new",
            &["PUT https://dav.example.com:443/box/new"],
        ),
        ("dav.example.com", "COPY", "destination", "/box/new", &["PUT https://dav.example.com:443/box/new"]),
        ("dav.example.com", "POST", "destination", "Berlin Hbf", &[]),
        ("s3.example.com", "PUT", "x-copy-from", "/box/old", &["GET https://s3.example.com:443/box/old"]),
        ("s3.example.com", "PUT", "x-amz-copy-source-range", "bytes=0-9", &[]),
    ] {
        assert_eq!(found(host, method, &[(field, value)]).unwrap(), others, "{field}: {value}");
    }
}

#[test]
fn what_is_copied_by_container_and_object_is_below_the_account_as_well() {
    for (path, value, others) in [
        ("/v1/AUTH_a/pub/x", "/box/key", &["/box/key", "/v1/box/key", "/v1/AUTH_a/box/key"][..]),
        ("/swift/v1.0/pub/v1/x", "box/key", &["/box/key", "/swift/v1.0/box/key", "/swift/v1.0/pub/box/key"]),
        ("/v1", "box/key", &["/box/key", "/v1/box/key"]),
        ("/v10/AUTH_a/x", "box/key", &["/box/key"]),
        ("/v1/AUTH_a/x", "https://swift.example.com/box/key", &["/box/key"]),
    ] {
        for (method, field) in [("PUT", "x-copy-from"), ("COPY", "destination")] {
            let mut call = call("swift.example.com", method, &[(field, value)]);
            call.path = NormalPath::parse(path).unwrap();
            let found: Vec<_> = elsewhere(&call).unwrap().iter().map(|other| other.path.to_string()).collect();
            assert_eq!(found, others, "{path} {field}: {value}");
        }
    }
}

#[test]
fn what_servers_read_in_different_ways_is_refused() {
    for (host, field, value) in [
        ("s3.example.com", "x-amz-copy-source", "box/../secret"),
        ("s3.example.com", "x-amz-copy-source", "//box/old"),
        ("s3.example.com", "x-amz-copy-source", "box/a+b"),
        ("s3.example.com", "x-amz-copy-source", "box/%61"),
        ("s3.example.com", "x-amz-copy-source", "box/old?x/../secret"),
        ("s3.example.com", "x-amz-copy-source", "box/old?%2e%2e"),
        ("s3.example.com", "x-amz-copy-source", "ftp://s3.example.com/box/old"),
        ("s3.example.com", "x-amz-copy-source", "https://s3.example.com@other.example.com/box/old"),
        ("dfs.example.com", "x-ms-copy-source", "https:/other.example.com/old"),
        ("dfs.example.com", "x-ms-copy-source", "HTTP:other.example.com/old"),
        ("box.s3.amazonaws.com", "x-amz-copy-source", "BOX/old"),
        ("box.s3.amazonaws.com", "x-amz-copy-source", "arn:aws:s3:::accesspoint/a/object/old"),
        ("box.s3.amazonaws.com", "x-amz-copy-source", "box"),
        ("s3.example.com", "x-amz-copy-source", "arn:aws:s3:eu-west-1:1:accesspoint/a/object/old"),
        ("s3.example.com", "x-amz-copy-source", "/arn%3Aaws:s3:eu-west-1:1:accesspoint/a/object/old"),
        ("swift.example.com", "x-copy-from-account", "AUTH_b"),
        ("swift.example.com", "destination-account", "AUTH_b"),
    ] {
        assert!(found(host, "PUT", &[(field, value)]).is_err(), "{value}");
    }
    assert!(found("dav.example.com", "MOVE", &[("destination", "https:///box")]).is_err());
    let twice = [("x-amz-copy-source", "box/old"), ("x-amz-copy-source", "box/secret")];
    assert!(found("s3.example.com", "PUT", &twice).is_err());
}

/// What a server makes of such a value.
#[derive(Debug, PartialEq)]
struct Reading {
    scheme: String,
    host: String,
    segments: Vec<String>,
}

/// As lenient readers have it: of a URL as browsers do, with any slashes; with dots and empty segments taken away once it is decoded; a blank for
/// each plus or not; up to a `?`, or with that and what is behind it.
fn read_leniently(host: &str, service: Option<&str>, value: &str, plus: bool, query: bool) -> Reading {
    let text = value.trim().replace('\t', "").replace('\\', "/");
    let scheme = ["https:", "http:"].into_iter().find(|scheme| text.to_ascii_lowercase().starts_with(scheme));
    let authority = scheme.map_or(text.strip_prefix("//"), |scheme| Some(text[scheme.len()..].trim_start_matches('/')));
    let (own, path) = match authority {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            (authority.rsplit('@').next().unwrap().to_ascii_lowercase(), path)
        }
        None => (host.to_owned(), &*text),
    };
    let path = path.split('#').next().unwrap();
    let path = if query { path } else { path.split('?').next().unwrap() };
    let path = if plus { path.replace('+', " ") } else { path.to_owned() };
    let mut segments: Vec<String> = Vec::new();
    for segment in percent_decode_str(&path).decode_utf8_lossy().split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other.to_owned()),
        }
    }
    let own = match service {
        Some(service) if authority.is_none() && !segments.is_empty() => format!("{}{service}", segments.remove(0)),
        _ => own,
    };
    let scheme = scheme.unwrap_or("https:").trim_end_matches(':').to_owned();
    let (name, port) = own.split_once(':').unwrap_or((&own, if scheme == "http" { "80" } else { "443" }));
    Reading { host: format!("{}:{port}", name.trim_end_matches('.')), scheme, segments }
}

impl Reading {
    fn of(judged: &Elsewhere) -> Self {
        let path = percent_decode_str(judged.path.as_str()).decode_utf8_lossy();
        let segments = path.split('/').skip(1).map(str::to_owned);
        let mut segments: Vec<String> = segments.collect();
        segments.pop_if(|last| last.is_empty());
        Self { scheme: judged.scheme.as_str().to_owned(), host: judged.destination.to_string(), segments }
    }
}

/// Where a call goes, and what stands behind a bucket there.
const HOSTS: [(&str, Option<&str>); 3] = [
    ("s3.example.com", None),
    ("box.s3.eu-west-1.amazonaws.com", Some(".s3.eu-west-1.amazonaws.com")),
    ("box.storage.googleapis.com", Some(".storage.googleapis.com")),
];
const FIELDS: [(&str, &str); 4] = [
    ("x-amz-copy-source", "PUT"),
    ("x-goog-copy-source", "PUT"),
    ("x-ms-rename-source", "PUT"),
    ("destination", "MOVE"),
];
/// What such a value is made of, and what could be taken for it.
const PARTS: [&str; 28] = [
    "/",
    "/",
    "/",
    "box",
    "old",
    "secret",
    "https",
    "http",
    "HTTPS",
    ":",
    "://",
    "b.example.com",
    "b.example.com/",
    ":443",
    "@",
    "..",
    ".",
    "%2e",
    "%2F",
    "%61",
    "%20",
    "%2B",
    "+",
    "?",
    "#",
    "v=1",
    "\\",
    "\t",
];

fn judged(host: &str, (field, method): (&'static str, &str), value: &str) -> Result<Vec<Elsewhere>, Refusal> {
    let mut call = call(host, method, &[]);
    call.headers.insert(field, HeaderValue::from_str(value).unwrap());
    elsewhere(&call)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn what_passes_is_read_alike_by_every_reader(
        (host, service) in prop::sample::select(&HOSTS[..]),
        field in prop::sample::select(&FIELDS[..]),
        parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 1..9),
    ) {
        let value = parts.concat();
        let service = service.filter(|_| field.0 != "destination");
        for other in judged(host, field, &value).unwrap_or_default() {
            let own = Reading::of(&other);
            for plus in [false, true] {
                prop_assert_eq!(&read_leniently(host, service, &value, plus, false), &own, "{}", &value);
            }
            // Whoever takes a `?` for a part of the name stays within the same directory.
            if !value.contains("://") {
                let with_query = read_leniently(host, service, &value, false, true).segments.join("/");
                let rest = with_query.strip_prefix(&own.segments.join("/")).map(|rest| rest.strip_prefix('/').unwrap_or(rest));
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('?') && !rest.contains('/')), "{}", &value);
            }
        }
    }

    #[test]
    fn what_is_plain_passes(
        (host, service) in prop::sample::select(&HOSTS[..]),
        field in prop::sample::select(&FIELDS[..]),
        absolute in any::<bool>(),
        segments in prop::collection::vec("[a-z][a-z0-9_~-]{0,8}[a-z0-9]", 2..5),
    ) {
        let path = segments.join("/");
        let value = if absolute { format!("https://b.example.com/{path}") } else { path };
        let others = judged(host, field, &value);
        // Not everything is the name of a host, and so of a bucket.
        let service = service.filter(|_| field.0 != "destination" && !absolute);
        if service.is_none() || segments[0].bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let others = others.unwrap();
            prop_assert_eq!(others.len(), if field.0 == "x-ms-rename-source" { 2 } else { 1 });
            for other in &others {
                prop_assert_eq!(Reading::of(other), read_leniently(host, service, &value, false, false));
            }
        }
    }
}
