//! log.toml: what is taken, and what each mistake is told.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use config::{LogSettings, Receiver, Source};

fn mistakes(text: &str) -> Vec<String> {
    let error = LogSettings::parse("log.toml", text).unwrap_err();
    error.mistakes().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn only_mistake(text: &str, begins: &str) {
    let mistakes = mistakes(text);
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert!(mistakes[0].starts_with(begins), "{}", mistakes[0]);
    assert!(mistakes[0].contains("hint: "), "{}", mistakes[0]);
}

#[test]
fn receivers_have_a_place_a_name_and_where_their_secrets_are() {
    let text = r#"
        [[ship]]
        to = "otlp"
        url = "https://collector.example.com:4318/base/"
        headers = { Authorization = { file = "secrets/otlp" }, x-tenant = { env = "TENANT" } }
        roots = ["ca.pem"]
        [[ship]]
        to = "syslog"
        name = "siem"
        address = "siem.example.com"
        silent_end = true
    "#;
    let settings = LogSettings::parse("/etc/exeat/log.toml", text).unwrap();
    let [otlp, syslog] = &settings.ship[..] else { panic!("{settings:?}") };
    assert_eq!(otlp.name, "otlp-collector.example.com-4318-base");
    assert_eq!(otlp.roots, [Path::new("/etc/exeat/ca.pem")]);
    let Receiver::Otlp { url, headers } = &otlp.receiver else { panic!("{otlp:?}") };
    assert_eq!(url, "https://collector.example.com:4318/base");
    assert_eq!(headers["authorization"], Source::File("/etc/exeat/secrets/otlp".into()));
    assert_eq!(headers["x-tenant"], Source::Env("TENANT".to_owned()));
    assert_eq!(syslog.name, "siem");
    let Receiver::Syslog { address, silent_end: true } = &syslog.receiver else { panic!("{syslog:?}") };
    assert_eq!(address.to_string(), "siem.example.com:6514");
}

#[test]
fn a_file_that_is_not_there_ships_nothing() {
    assert_eq!(LogSettings::load("/nonexistent/log.toml").unwrap(), LogSettings::default());
    assert_eq!(LogSettings::parse("log.toml", "").unwrap(), LogSettings::default());
}

#[test]
fn each_mistake_has_its_line_its_key_and_what_to_write() {
    only_mistake("[[ship]]\nto = \"kafka\"\n", "log.toml:2: ship[1].to: `kafka` is nothing that logs are shipped by");
    only_mistake("[[ship]]\nurl = \"https://h\"\n", "log.toml:1: ship[1]: `to` is missing");
    only_mistake("[[ship]]\nto = \"otlp\"\n", "log.toml:1: ship[1]: `url` is missing");
    only_mistake("[[ship]]\nto = \"syslog\"\n", "log.toml:1: ship[1]: `address` is missing");
    only_mistake(
        "[[ship]]\nto = \"otlp\"\nurl = \"http://collector.example.com:4318\"\n",
        "log.toml:3: ship[1].url: `http://collector.example.com:4318` is not a URL",
    );
    for url in ["https://h/v1/logs", "https://h/?x=1", "https://u@h"] {
        only_mistake(&format!("[[ship]]\nto = \"otlp\"\nurl = \"{url}\"\n"), "log.toml:3: ship[1].url: `");
    }
    only_mistake(
        "[[ship]]\nto = \"otlp\"\nurl = \"https://h\"\nheaders = { authorization = \"Bearer x\" }\n",
        "log.toml:4: ship[1].headers.authorization: a secret is not written in this file",
    );
    only_mistake(
        "[[ship]]\nto = \"otlp\"\nurl = \"https://h\"\nheaders = { host = { env = \"H\" } }\n",
        "log.toml:4: ship[1].headers.host: `host` is set by exeat",
    );
    only_mistake(
        "[[ship]]\nto = \"syslog\"\naddress = \"h:6514\"\nurl = \"https://h\"\n",
        "log.toml:4: ship[1].url: the key `url` is not known",
    );
    only_mistake(
        "[[ship]]\nto = \"syslog\"\nname = \"../x\"\naddress = \"h\"\n",
        "log.toml:3: ship[1].name: `../x` is not a name",
    );
    only_mistake(
        "[[shop]]\nto = \"otlp\"\n",
        "log.toml:1: shop: the key `shop` is not known\n  hint: did you mean `ship`?",
    );
    only_mistake("[ship]\nto = \"otlp\"\n", "log.toml:1: ship: a list of tables is expected here");
}

#[test]
fn two_receivers_have_two_names() {
    let twice = "[[ship]]\nto = \"syslog\"\naddress = \"h\"\n".repeat(2);
    only_mistake(&twice, "log.toml:4: ship[2]: another receiver is called `syslog-h-6514`, too");
}

#[test]
fn the_brokers_identity_is_shown_for_no_header() {
    let vault = "{ vault = { address = \"https://v\", role = \"r\", path = \"secret/data/x\", field = \"f\" } }";
    let text = format!("[[ship]]\nto = \"otlp\"\nurl = \"https://h\"\nheaders = {{ x-key = {vault} }}\n");
    assert!(mistakes(&text).iter().any(|mistake| mistake.starts_with("log.toml:4: ship[1].headers.x-key")));
}
