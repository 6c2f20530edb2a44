//! Nothing here panics on any text, and what was parsed says itself so that it parses to the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Display;
use std::str::FromStr;

use config::{
    AgentId, Credentials, Destination, DnsName, Host, Method, NormalPath, PathGlob, Pattern, Policy, Rate, Shape,
    WorkerId,
};
use proptest::prelude::*;
use proptest::sample::select;

const POLICY: &str = r#"
[sandbox]
write = ["."]
memory = "2GiB"
processes = 256
cpus = 1.5
wall_clock = "30m"
[upstream]
roots = ["ca.pem"]
[[allow]]
to = "api.github.com"
methods = ["GET", "POST"]
paths = ["/repos/acme/**", "/users/*"]
credential = "github"
rate = "10/s"
dial = "127.0.0.1:8443"
addresses = ["10.0.0.0/8"]
plain = false
[[deny]]
to = "10.0.0.5:80"
paths = ["/repos/acme/payroll/**"]
"#;

const CREDENTIALS: &str = r#"
[github]
issuer = "fixed"
value = { file = "secrets/github" }
agents = ["release-bot"]
to = ["api.github.com", "[2001:db8::1]:443"]
in = ["header", "basic"]
env = "GITHUB_TOKEN"
shape = "ghs_[A-Za-z0-9]{36}"
[crm]
issuer = "oauth2-client"
token_endpoint = "https://login.example.com/token"
client_id = "exeat"
client_secret = { command = ["pass"] }
agents = ["release-bot"]
to = ["crm.example.com"]
"#;

/// Text near to what a person writes: a good file with pieces cut out and others put in.
fn near(good: &'static str) -> impl Strategy<Value = String> {
    const PIECES: [&str; 24] = [
        "",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        ".",
        "*",
        "**",
        "/",
        "%2f",
        ":",
        ",",
        "é",
        "\u{202e}",
        "\\u0000",
        "-1",
        "1e999",
        "[[allow]]",
        "\"\"",
        "'''",
        "\\",
    ];
    let cut = (0..good.len(), 0..12usize, select(&PIECES[..]));
    prop::collection::vec(cut, 1..6).prop_map(move |cuts| {
        let mut text = good.to_owned();
        for (start, length, piece) in cuts {
            let start = (0..=start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            let end = (start + length..).find(|&at| at >= text.len() || text.is_char_boundary(at)).unwrap();
            text.replace_range(start..end.min(text.len()), piece);
        }
        text
    })
}

/// What parses is written by `Display` so that it parses to an equal value.
fn says_itself<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let said = value.to_string();
        assert_eq!(said.parse::<T>().ok().as_ref(), Some(&value), "{text:?} was said as {said:?}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
}

fn values_say_themselves(text: &str) {
    says_itself::<DnsName>(text);
    says_itself::<Host>(text);
    says_itself::<Destination>(text);
    says_itself::<AgentId>(text);
    says_itself::<WorkerId>(text);
    says_itself::<Method>(text);
    says_itself::<Pattern>(text);
    says_itself::<PathGlob>(text);
    says_itself::<Rate>(text);
    says_itself::<Shape>(text);
}

fn files_do_not_panic(text: &str) {
    if let Err(error) = Policy::parse("bot".parse().unwrap(), "bot.toml", text) {
        assert!(!error.mistakes().is_empty());
        assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
    if let Err(error) = Credentials::parse("credentials.toml", text) {
        assert!(!error.mistakes().is_empty());
        assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
}

fn a_normal_path_is_normal(text: &str) {
    let Ok(path) = NormalPath::parse(text) else { return };
    let normal = path.as_str();
    assert_eq!(NormalPath::parse(normal).as_ref(), Ok(&path));
    assert!(normal.starts_with('/') && normal.bytes().all(|b| b.is_ascii_graphic()), "{normal}");
    assert!(!normal.contains("//") && !normal.contains(['\\', '?', '#', '"']), "{normal}");
    assert!(!normal.contains("%2f") && !normal.contains("%2E"), "{normal}");
    assert_eq!(path.has_encoded_slash(), normal.contains("%2F"));
    // With an escaped slash read as a separator, too, it is a normal path: there is nothing to climb or to collapse.
    for read in [normal.to_owned(), normal.replace("%2F", "/")] {
        assert!(read.split('/').all(|segment| segment != "." && segment != ".."), "{normal}");
        assert_eq!(NormalPath::parse(&read).map(|path| path.as_str().to_owned()), Ok(read));
    }
}

#[test]
fn the_good_files_are_good() {
    Policy::parse("bot".parse().unwrap(), "bot.toml", POLICY).unwrap();
    Credentials::parse("credentials.toml", CREDENTIALS).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_text(text in any::<String>()) {
        values_say_themselves(&text);
        files_do_not_panic(&text);
        a_normal_path_is_normal(&text);
    }

    #[test]
    fn text_near_a_good_policy(text in near(POLICY)) {
        files_do_not_panic(&text);
    }

    #[test]
    fn text_near_good_credentials(text in near(CREDENTIALS)) {
        files_do_not_panic(&text);
    }

    #[test]
    fn text_made_of_what_names_are_made_of(text in r"[a-cA-Cx0-2.:/*\[\]%_-]{0,12}|(xn--)?[a-zäßé]{1,8}\.(xn--[a-z0-9-]{1,8}|de)\.?") {
        values_say_themselves(&text);
    }

    #[test]
    fn text_made_of_what_shapes_are_made_of(text in r"[a-c\[\]{}0-9,\\^-]{0,16}\[A-Za-z0-9\]\{[0-9]{2}\}") {
        values_say_themselves(&text);
    }

    #[test]
    fn text_made_of_what_paths_are_made_of(text in r"/(%2[0-9a-fA-F]|%25|%5c|%c3%a9|%[0-9a-f]{2}|\.|\.\.|;|/|\*|[a-c*é]){0,10}") {
        a_normal_path_is_normal(&text);
        values_say_themselves(&text);
    }

    #[test]
    fn shapes_of_any_choice_have_their_length(shape in r"[a-z]{0,4}\[a-f0-9\]\{3[2-6],4[0-4]\}(_x)?", choices: [u32; 16]) {
        let shape: Shape = shape.parse().unwrap();
        let mut drawn = choices.iter().cycle();
        let text = shape.generate(&mut |bound| drawn.next().unwrap() % bound);
        let prefix = shape.to_string().find('[').unwrap();
        let suffix = if shape.to_string().ends_with("_x") { 2 } else { 0 };
        prop_assert!((32..=44).contains(&(text.len() - prefix - suffix)), "{text}");
    }
}
