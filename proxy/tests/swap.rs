//! A placeholder goes upstream nowhere: it is swapped where rule and grant say so, and stops the call everywhere else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pieces;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use config::{CredentialName, Destination, Grant, Placeholder, Places};
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use proptest::prelude::*;
use proxy::swap::{Head, Misdirected, Place, Plan, Swap, SwapError, Why};

use pieces::{PLACEHOLDER, Piece, chunks, pieces, shows, spelt};

const OTHER: &str = "glpat-x8Wq2ZkT5vR9yB4nM7cJ";
const SECRET: &str = "s3cr&t+/=%41 of;github";

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

fn destination(host: &str) -> Destination {
    Destination::new(host.parse().unwrap(), 443)
}

/// `github` for api.github.com anywhere, `gitlab` for both hosts and in headers only.
fn swap() -> Swap {
    let grant = |credential, to: &[&str], places| {
        Grant::new(name(credential), to.iter().map(|to| to.parse().unwrap()).collect(), places, None)
    };
    let all = Places { header: true, basic: true, query: true, ..Places::default() };
    let header = Places { header: true, basic: false, query: false, ..Places::default() };
    Swap::new(vec![
        (grant("github", &["api.github.com"], all), Placeholder::from_value(PLACEHOLDER.into())),
        (grant("gitlab", &["api.github.com", "gitlab.com"], header), Placeholder::from_value(OTHER.into())),
    ])
}

fn request(target: &str, fields: &[(HeaderName, String)]) -> Parts {
    let (mut parts, ()) = http::Request::builder().uri(target).body(()).unwrap().into_parts();
    for (name, value) in fields {
        parts.headers.append(name, value.parse().unwrap());
    }
    parts
}

fn plan(parts: &Parts, to: &str, permitted: Option<&str>) -> Result<Option<Plan>, Misdirected> {
    let permitted = permitted.map(name);
    swap().plan(&Head {
        destination: &destination(to),
        permitted: permitted.as_ref(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    })
}

/// What becomes of a field in a call that the rule permits with `github`.
fn field(name: &HeaderName, value: &str) -> Result<String, Misdirected> {
    let mut parts = request("https://api.github.com/user", &[(name.clone(), value.to_owned())]);
    if let Some(plan) = plan(&parts, "api.github.com", Some("github"))? {
        plan.apply(&mut parts, SECRET).unwrap();
        assert!(parts.headers[name].is_sensitive());
    }
    Ok(parts.headers[name].to_str().unwrap().to_owned())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_placeholder_is_swapped_in_any_value_where_it_stands_as_given() {
    let key = HeaderName::from_static("x-api-key");
    for (name, form) in
        [(AUTHORIZATION, "Bearer {}"), (AUTHORIZATION, "token {}"), (key, "{}"), (COOKIE, "a=%20; s={}; t={}")]
    {
        assert_eq!(field(&name, &form.replace("{}", PLACEHOLDER)).unwrap(), form.replace("{}", SECRET));
    }
    assert_eq!(field(&AUTHORIZATION, "Bearer else").unwrap(), "Bearer else");
}

#[test]
fn it_is_swapped_inside_basic_on_either_side_of_the_colon() {
    assert_eq!(field(&AUTHORIZATION, &basic("x-access-token", PLACEHOLDER)).unwrap(), basic("x-access-token", SECRET));
    assert_eq!(field(&AUTHORIZATION, &basic(PLACEHOLDER, "x-oauth-basic")).unwrap(), basic(SECRET, "x-oauth-basic"));
    let unpadded = format!("bAsIc  {}", STANDARD_NO_PAD.encode(format!("u:{PLACEHOLDER}")));
    assert_eq!(field(&AUTHORIZATION, &unpadded).unwrap(), basic("u", SECRET));
}

#[test]
fn it_is_swapped_in_the_query_and_encoded_for_it() {
    let target = format!("https://api.github.com/user?a=1&key={PLACEHOLDER}&b=%20+");
    let mut parts = request(&target, &[]);
    plan(&parts, "api.github.com", Some("github")).unwrap().unwrap().apply(&mut parts, SECRET).unwrap();
    let expected = "https://api.github.com/user?a=1&key=s3cr%26t%2B%2F%3D%2541%20of%3Bgithub&b=%20+";
    assert_eq!(parts.uri.to_string(), expected);
}

#[test]
fn a_placeholder_with_reserved_characters_is_known_in_its_encoded_form() {
    let places = Places { query: true, ..Places::default() };
    let grant = Grant::new(name("aws"), vec!["a.example".parse().unwrap()], places, None);
    let swap = Swap::new(vec![(grant, Placeholder::from_value("q7/Kp+x9ZtR2=".into()))]);
    let mut parts = request("https://a.example/?k=q7%2FKp%2Bx9ZtR2%3D", &[]);
    let (to, permitted) = (destination("a.example"), name("aws"));
    let head = Head {
        destination: &to,
        permitted: Some(&permitted),
        path: "/",
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    swap.plan(&head).unwrap().unwrap().apply(&mut parts, "s/s").unwrap();
    assert_eq!(parts.uri.query(), Some("k=s%2Fs"));
}

/// Destination, target, the rule's credential, fields, and why it is refused.
type Case<'a> = (&'a str, &'a str, Option<&'a str>, Vec<(HeaderName, String)>, Why);

#[test]
fn everywhere_else_it_stops_the_call_and_says_why() {
    let header = |value: String| vec![(AUTHORIZATION, value)];
    let plainly = || header(format!("Bearer {PLACEHOLDER}"));
    let other = || header(format!("Bearer {OTHER}"));
    let root = "https://api.github.com/";
    let nested = format!("%25{:02X}{}", PLACEHOLDER.as_bytes()[0], &PLACEHOLDER[1..]);
    let json: String = PLACEHOLDER.bytes().map(|b| format!("\\u{b:04x}")).collect();
    let named = HeaderName::from_bytes(format!("x-{OTHER}").as_bytes()).unwrap();
    let shouted = PLACEHOLDER.to_ascii_uppercase();
    let cases: [Case<'_>; 14] = [
        ("gitlab.com", root, Some("github"), plainly(), Why::Destination),
        ("api.github.com", root, None, plainly(), Why::Rule),
        ("api.github.com", root, Some("gitlab"), plainly(), Why::Rule),
        ("api.github.com", root, Some("github"), other(), Why::Rule),
        ("api.github.com", root, Some("gitlab"), header(basic("u", OTHER)), Why::Place),
        ("api.github.com", &format!("{root}?a={OTHER}"), Some("gitlab"), vec![], Why::Place),
        ("api.github.com", &format!("{root}a/{PLACEHOLDER}"), Some("github"), vec![], Why::Place),
        ("api.github.com", root, Some("github"), vec![(HOST, PLACEHOLDER.into())], Why::Place),
        ("api.github.com", &format!("{root}?a={nested}"), Some("github"), vec![], Why::Spelling),
        ("api.github.com", root, Some("github"), header(format!("Bearer {json}")), Why::Spelling),
        (
            "api.github.com",
            root,
            Some("github"),
            header(format!("Bearer {}", STANDARD.encode(PLACEHOLDER))),
            Why::Spelling,
        ),
        ("api.github.com", root, Some("github"), vec![(COOKIE, basic("u", PLACEHOLDER))], Why::Spelling),
        ("api.github.com", root, Some("github"), header(shouted), Why::Spelling),
        ("api.github.com", root, Some("gitlab"), vec![(named, "x".into())], Why::Place),
    ];
    for (to, target, permitted, fields, why) in cases {
        let refused = plan(&request(target, &fields), to, permitted).unwrap_err();
        assert_eq!(refused.why, why, "{to} {target} {fields:?}");
        assert!(!refused.to_string().contains(&PLACEHOLDER[6..]));
    }
}

#[test]
fn a_secret_that_does_not_fit_is_an_error() {
    let fails = |value: String, secret: &str| {
        let mut parts = request("https://api.github.com/", &[(AUTHORIZATION, value)]);
        plan(&parts, "api.github.com", Some("github")).unwrap().unwrap().apply(&mut parts, secret).unwrap_err()
    };
    assert!(matches!(fails(format!("Bearer {PLACEHOLDER}"), "abc\n"), SwapError::Header { .. }));
    assert!(matches!(fails(basic(PLACEHOLDER, ""), "a:b"), SwapError::Colon(_)));
    let mut parts = request(&format!("https://api.github.com/?a={PLACEHOLDER}"), &[]);
    let plan = plan(&parts, "api.github.com", Some("github")).unwrap().unwrap();
    assert!(matches!(plan.apply(&mut parts, &"a".repeat(70_000)), Err(SwapError::Query(_))));
}

#[test]
fn a_log_names_placeholders_and_does_not_show_them() {
    let swap = swap();
    assert_eq!(swap.redact("GET /a?b=1"), "GET /a?b=1");
    assert_eq!(swap.redact(&format!("/a/{PLACEHOLDER}/{OTHER}")), "/a/‹github›/‹gitlab›");
    assert_eq!(swap.redact(&format!("{}.evil.example", OTHER.to_ascii_lowercase())), "‹gitlab›.evil.example");
    let escaped: String = OTHER.bytes().map(|b| format!("%{b:02x}")).collect();
    assert_eq!(swap.redact(&format!("/a/{escaped}")), "‹gitlab, escaped›");
}

/// Placeholders that are base64 themselves, by their shape: the id of a key pair, digits, letters.
const ALSO_BASE64: [&str; 4] = [
    "AKIAq7KpX9ZtR2mWv4Bc8Yd3Nh6Js5Lt",
    "0123456789abcdef0123456789abcdef01234567",
    "Zq3vB8nK1xW5cT7yL0pR4sD9fG2hJ6mA",
    "wJalrXUtnFEMI+K7MDENG/bPxRfiCYzExmplKEYq",
];

fn in_basic(placeholder: &str, value: &str, permitted: bool) -> Result<Option<Plan>, Misdirected> {
    let all = Places { header: true, basic: true, ..Places::default() };
    let grant = Grant::new(name("api"), vec!["api.example.com".parse().unwrap()], all, None);
    let swap = Swap::new(vec![(grant, Placeholder::from_value(placeholder.into()))]);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
    let (to, api) = (destination("api.example.com"), name("api"));
    swap.plan(&Head {
        destination: &to,
        permitted: permitted.then_some(&api),
        path: "/",
        query: None,
        headers: &headers,
    })
}

#[test]
fn a_placeholder_that_is_base64_itself_does_not_pass_for_user_and_password() {
    for placeholder in ALSO_BASE64 {
        for value in [placeholder.to_owned(), format!("QUFB{placeholder}"), placeholder.to_ascii_uppercase()] {
            let value = format!("Basic {value}");
            assert_eq!(in_basic(placeholder, &value, true).unwrap_err().why, Why::Spelling, "{value}");
            assert_eq!(in_basic(placeholder, &value, false).unwrap_err().why, Why::Rule, "{value}");
        }
        assert!(in_basic(placeholder, &basic("user", placeholder), true).unwrap().is_some(), "{placeholder}");
        assert!(in_basic(placeholder, &basic("user", "else"), true).unwrap().is_none());
    }
}

#[test]
fn trailers_carry_no_placeholder() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    assert!(swap().trailers(&trailers).is_ok());
    trailers.insert("x-sum", HeaderValue::from_static(PLACEHOLDER));
    assert_eq!(swap().trailers(&trailers).unwrap_err().place, Place::Trailer);
}

fn watched<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Misdirected> {
    let none = HeaderMap::new();
    let mut watch = swap().body(&Head {
        destination: &destination("api.github.com"),
        permitted: None,
        path: "/",
        query: None,
        headers: &none,
    });
    chunks.into_iter().try_for_each(|chunk| watch.push(chunk))?;
    watch.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_sent_shows_no_placeholder_and_differs_in_nothing_else(
        value in pieces(), query in pieces(), second in "[a-z%\\\\]{0,9}", permitted in any::<bool>(),
    ) {
        let visible = |pieces: &[Piece]| -> String {
            spelt(pieces, PLACEHOLDER).iter().map(|&b| if (b'!'..=b'~').contains(&b) { char::from(b) } else { '.' }).collect()
        };
        let query = visible(&query).replace(['#', '"', '<', '>', '`', '{', '}', '\\', '^', '|'], ".");
        let fields = [(AUTHORIZATION, format!("Bearer {}", visible(&value))), (COOKIE, second)];
        let mut parts = request(&format!("https://api.github.com/a?{query}"), &fields);
        let before = format!("{:?}", (&parts.uri.to_string(), &fields));
        match plan(&parts, "api.github.com", permitted.then_some("github")) {
            Err(_) => prop_assert!(shows(before.replace("\\\\", "\\").as_bytes(), PLACEHOLDER) || before.contains('%') || before.contains('\\')),
            Ok(None) => prop_assert!(!shows(before.as_bytes(), PLACEHOLDER)),
            Ok(Some(plan)) => {
                prop_assert!(permitted);
                plan.apply(&mut parts, "S3CRET~").unwrap();
                let sent = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
                let after = [parts.uri.to_string(), sent(AUTHORIZATION), sent(COOKIE)];
                prop_assert!(!after.iter().any(|text| shows(text.as_bytes(), PLACEHOLDER)));
                let back = after.map(|text| text.replace("S3CRET~", PLACEHOLDER));
                prop_assert_eq!(back, [format!("https://api.github.com/a?{query}"), fields[0].1.clone(), fields[1].1.clone()]);
            }
        }
    }

    #[test]
    fn what_is_sent_as_basic_shows_no_placeholder_that_is_base64_itself(
        which in 0..ALSO_BASE64.len(), before in "[A-Za-z0-9+/]{0,9}", after in "[A-Za-z0-9+/]{0,9}={0,2}", permitted in any::<bool>(),
    ) {
        let placeholder = ALSO_BASE64[which];
        let judged = in_basic(placeholder, &format!("Basic {before}{placeholder}{after}"), permitted);
        // What is no base64 is a value like any other, in which it is swapped.
        prop_assert!(judged.is_err() || (permitted && judged.unwrap().is_some()));
    }

    #[test]
    fn a_body_with_a_placeholder_is_caught_however_it_is_cut(
        pieces in pieces(), cuts in proptest::collection::vec(0usize..200, 0..12),
    ) {
        let text = spelt(&pieces, OTHER);
        let whole = watched([&text[..]]);
        prop_assert!(whole.is_err() || !shows(&text, OTHER));
        let innocent = pieces.iter().all(|piece| matches!(piece, Piece::Begun(_)));
        prop_assert!(whole.is_ok() || !innocent);
        prop_assert_eq!(&watched(chunks(&text, &cuts).iter().map(|chunk| &chunk[..])), &whole);
        prop_assert_eq!(&watched(text.chunks(1)), &whole);
    }
}
