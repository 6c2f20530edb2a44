//! The policy in force: a good file replaces it, a bad one does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use config::{Destination, Diversion, Standing};

#[test]
fn a_reload_takes_a_good_file_and_keeps_the_last_good_policy_over_a_bad_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bot.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let destination = Destination::parse_authority("a.example", 443).unwrap();

    write("");
    let standing = Standing::load(&path).unwrap();
    assert!(standing.current().connect(&destination).is_err());
    assert!(!standing.reload().unwrap());

    write("[[allow]]\nto = \"a.example\"\n");
    assert!(standing.reload().unwrap());
    let permit = standing.current().connect(&destination).unwrap();
    assert_eq!(permit.policy(), standing.current().digest());

    for bad in ["[[allow]]\n", "not toml", ""] {
        if bad.is_empty() {
            std::fs::remove_file(&path).unwrap();
        } else {
            write(bad);
        }
        let error = standing.reload().unwrap_err();
        assert!(error.to_string().contains("bot.toml"), "{error}");
        assert!(standing.current().connect(&destination).is_ok());
    }
}

#[test]
fn a_secret_beside_the_file_is_read_anew_and_refused_where_the_sandbox_would_see_it() {
    let directory = tempfile::tempdir().unwrap();
    let (file, login) = (directory.path().join("bot.toml"), directory.path().join("login"));
    std::fs::write(&file, "[upstream]\nproxy = \"http://p.example:1\"\nproxy_login = { file = \"login\" }\n").unwrap();
    std::fs::write(&login, "user:one").unwrap();
    let standing = Standing::load(&file).unwrap();
    assert!(!standing.reload().unwrap());
    std::fs::write(&login, "user:two").unwrap();
    assert!(standing.reload().unwrap());
    let seen = login.clone();
    let error = standing.keep_secrets_from(move |file| file == seen).unwrap_err().to_string();
    assert!(error.contains("login` holds a secret and would be seen"), "{error}");
    assert!(standing.reload().is_err());
    std::fs::write(&file, "").unwrap();
    assert!(standing.reload().unwrap());
}

#[test]
fn what_a_diverted_policy_lets_out_ends_at_the_same_place_after_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bot.toml");
    std::fs::write(&path, "").unwrap();
    let end = Diversion { to: "127.0.0.1:4711".parse().unwrap(), root: "/run/root.pem".into() };
    let standing = Standing::load_diverted(&path, end.clone()).unwrap();
    assert!(!standing.reload().unwrap());
    std::fs::write(&path, "[[allow]]\nto = \"a.example\"\n").unwrap();
    assert!(standing.reload().unwrap());
    let policy = standing.current();
    assert_eq!((policy.rules()[0].dial(), policy.extra_roots()), (Some(end.to), &[end.root][..]));
}
