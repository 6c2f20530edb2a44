//! Files of the sandbox's home: what is written for a credential, what is said about each mistake, and that nothing in them needs an escape.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::{Credential, Credentials, Grant, LoadError, Placeholder, home_files};
use proptest::prelude::*;

const BEGIN: &str = "issuer = \"fixed\"\nvalue = { env = \"X\" }\nagents = [\"bot\"]\n";

fn parse(lines: &str) -> Result<Credentials, LoadError> {
    Credentials::parse("credentials.toml", &lines.replace("BEGIN\n", BEGIN))
}

/// The placeholders that a worker of `bot` is given.
fn registered(credentials: &Credentials) -> Vec<(Grant, Placeholder)> {
    let parts = credentials.iter().flat_map(Credential::placeholders);
    parts.map(|(grant, shape)| (grant, Placeholder::generate(shape).unwrap())).collect()
}

/// Each file's text by its path, with `ONE`, `TWO` … for the placeholders, in the order of the credentials' names.
fn written(lines: &str) -> Vec<(String, String)> {
    let grants = registered(&parse(lines).unwrap());
    let shown = |text: &str| {
        let names = ["ONE", "TWO", "THREE", "FOUR"].into_iter().zip(&grants);
        names.fold(text.to_owned(), |text, (name, (_, placeholder))| text.replace(placeholder.value(), name))
    };
    let files = home_files(&grants, "/roots.pem").unwrap();
    files.into_iter().map(|file| (file.path, shown(&file.text))).collect()
}

#[track_caller]
fn assert_written(lines: &str, path: &str, text: &str) {
    assert_eq!(written(lines), [(path.to_owned(), text.to_owned())]);
}

#[test]
fn each_template_is_what_its_clients_read() {
    let of = |template: &str| {
        format!("[api]\nBEGIN\nto = [\"a.example\", \"b.example:8443\", \"*.c.example\"]\nfiles = [\"{template}\"]")
    };
    assert_written(
        &of("netrc"),
        ".netrc",
        "machine a.example login x-access-token password ONE\nmachine b.example login x-access-token password ONE\n",
    );
    assert_written(&of("npmrc"), ".npmrc", "//a.example/:_authToken=ONE\n//b.example:8443/:_authToken=ONE\n");
    assert_written(
        &of("pypirc"),
        ".pypirc",
        "[distutils]\nindex-servers =\n    api\n\n[api]\nrepository = https://a.example/legacy/\nusername = __token__\npassword = ONE\n",
    );
    assert_written(
        &of("gh"),
        ".config/gh/hosts.yml",
        "\"a.example\":\n    user: \"agent\"\n    oauth_token: \"ONE\"\n    git_protocol: https\n\
         \"b.example:8443\":\n    user: \"agent\"\n    oauth_token: \"ONE\"\n    git_protocol: https\n",
    );
    assert_written(
        "[api]\nBEGIN\nto = [\"k.example:6443\"]\nfiles = [\"kubeconfig\"]",
        ".kube/config",
        "apiVersion: v1\nkind: Config\nclusters:\n- name: \"k.example:6443\"\n  cluster:\n    server: \"https://k.example:6443\"\n    \
         certificate-authority: \"/roots.pem\"\nusers:\n- name: \"agent-api\"\n  user:\n    token: \"ONE\"\ncontexts:\n\
         - name: \"k.example:6443\"\n  context:\n    cluster: \"k.example:6443\"\n    user: \"agent-api\"\ncurrent-context: \"k.example:6443\"\n",
    );
    // The id's placeholder comes after the secret's.
    assert_written(
        "[api]\nBEGIN\nto = [\"*.a.example\"]\nshape = \"aws\"\nfiles = [\"aws\"]",
        ".aws/credentials",
        "[default]\naws_access_key_id = TWO\naws_secret_access_key = ONE\n",
    );
    assert_written(
        "[api]\nBEGIN\nto = [\"a.example\"]\nfiles = [{ path = \"~/.x/y\", text = '{\"h\": \"{host}\", \"u\": \"{user}\", \"k\": \"{placeholder}\"}', user = \"me\" }]",
        ".x/y",
        "{\"h\": \"a.example\", \"u\": \"me\", \"k\": \"ONE\"}",
    );
}

#[test]
fn hosts_have_the_names_that_clients_call_them_by() {
    let of = |template: &str, to: &str| {
        written(&format!("[api]\nBEGIN\nto = [{to}]\nfiles = [\"{template}\"]"))[0].1.clone()
    };
    assert!(of("gh", "\"api.github.com\", \"uploads.github.com\"").starts_with("\"github.com\":\n"));
    assert_eq!(of("gh", "\"api.github.com\", \"github.com\"").matches("oauth_token").count(), 1);
    let docker: serde_json::Value =
        serde_json::from_str(&of("docker", "\"auth.docker.io\", \"registry-1.docker.io\"")).unwrap();
    assert_eq!(docker["auths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["https://index.docker.io/v1/"]);
    assert!(of("pypirc", "\"upload.pypi.org\"").contains("\n[pypi]\nrepository = https://upload.pypi.org/legacy/\n"));
    assert_eq!(of("netrc", "\"a.example:8443\", \"a.example\"").lines().count(), 1);
}

#[test]
fn the_credentials_of_an_agent_share_a_file_by_host() {
    let two = |files: &str| {
        format!(
            "[a]\nBEGIN\nto = [\"a.example\"]\nfiles = [{files}]\n[b]\nBEGIN\nto = [\"b.example\"]\nfiles = [{files}]"
        )
    };
    assert_eq!(written(&two("\"netrc\""))[0].1.lines().count(), 2);
    assert!(written(&two("\"pypirc\""))[0].1.starts_with("[distutils]\nindex-servers =\n    a\n    b\n\n[a]\n"));
    let docker: serde_json::Value = serde_json::from_str(&written(&two("\"docker\""))[0].1).unwrap();
    assert_eq!(docker["auths"].as_object().unwrap().len(), 2);
    assert_eq!(written(&two("\"kubeconfig\""))[0].1.matches("server:").count(), 2);
}

#[test]
fn a_service_accounts_file_has_a_key_that_parses_and_is_made_anew() {
    let lines = "[api]\nBEGIN\nto = [\"*.googleapis.com\"]\nshape = \"google-service-account\"\n\
                 files = [{ template = \"google-service-account\", user = \"bot@acme.iam.gserviceaccount.com\" }]";
    let key = || {
        let (path, text) = written(lines).remove(0);
        assert_eq!(path, ".config/gcloud/application_default_credentials.json");
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&file["project_id"], &file["private_key_id"]), (&"acme".into(), &"TWO".into()));
        let pem = file["private_key"].as_str().unwrap();
        let lines = pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
        BASE64_STANDARD.decode(lines).unwrap()
    };
    let (one, other) = (key(), key());
    assert!(aws_lc_rs::rsa::KeyPair::from_pkcs8(&one).unwrap().public_modulus_len() == 256);
    assert_ne!(one, other);
}

#[test]
fn every_mistake_is_shown_with_a_remedy() {
    let one = |lines: &str| format!("[api]\nBEGIN\nto = [\"a.example\"]\n{lines}");
    let line = 6;
    for (text, line, key, says) in [
        (one("files = [\"netrcs\"]"), line, "api.files[1]", "there is no template `netrcs`"),
        (one("files = \"netrc\""), line, "api.files", "a list is expected"),
        (one("files = [\"netrc\", \"netrc\"]"), line, "api.files[2]", "this credential already"),
        (one("files = [{ template = \"netrc\", text = \"{placeholder}\" }]"), line, "api.files[1]", "not both"),
        (one("files = [{ user = \"x\" }]"), line, "api.files[1]", "not both"),
        (one("files = [{ text = \"{placeholder}\" }]"), line, "api.files[1]", "`path` is missing"),
        (one("files = [{ path = \"x\", text = \"key\" }]"), line, "api.files[1].text", "no place for a placeholder"),
        (one("files = [{ path = \"x\", text = \"{id}\" }]"), line, "api.files[1]", "has no `{id}`"),
        (one("files = [{ path = \"../x\", text = \"{placeholder}\" }]"), line, "api.files[1].path", "not a path below the home"),
        (one("files = [{ path = \"/etc/x\", text = \"{placeholder}\" }]"), line, "api.files[1].path", "not a path below the home"),
        (one("files = [{ path = \"a//x\", text = \"{placeholder}\" }]"), line, "api.files[1].path", "not a path below the home"),
        (one("files = [{ template = \"netrc\", user = \"a b\" }]"), line, "api.files[1].user", "not a user's name"),
        (one("files = [{ template = \"netrc\", usr = \"a\" }]"), line, "api.files[1].usr", "did you mean `user`"),
        (one("files = [{ template = \"npmrc\", url = \"http://a.example/\" }]"), line, "api.files[1].url", "plain HTTPS URL"),
        (one("files = [{ template = \"npmrc\", url = \"https://b.example/\" }]"), line, "api.files[1].url", "add its host to `to`"),
        (one("in = [\"header\"]\nfiles = [\"git\"]"), 7, "api.files[1]", "add `basic` to `in`"),
        (one("in = [\"basic\"]\nfiles = [\"npmrc\"]"), 7, "api.files[1]", "add `header` to `in`"),
        (one("shape = \"[ -~]{40}\"\nfiles = [\"netrc\"]"), 6, "api.shape", "visible ASCII"),
        (one("shape = \"[!-~]{40}\"\nfiles = [\"netrc\"]"), 7, "api.files[1]", "may have to be escaped"),
        (one("files = [\"aws\"]"), 6, "api.files[1]", "write `shape = \"aws\"`"),
        (one("shape = \"aws\"\nfiles = [\"netrc\"]"), 7, "api.files[1]", "does not hold a key pair"),
        (one("shape = \"aws\"\nenv = \"KEY\""), 7, "api.env", "a key pair has two placeholders"),
        (one("shape = \"aws\"\nenv = [\"KEY\"]"), 7, "api.env", "a key pair has two placeholders"),
        (one("shape = \"aws\"\nin = [\"header\"]"), 7, "api.in", "leave the key out"),
        (one("shape = \"aws\"\ninject = true"), 7, "api.inject", "requests are signed"),
        (one("env = [\"A\", \"B\"]"), 6, "api.env", "a string is expected"),
        (one("files = [\"google-service-account\"]"), 6, "api.files[1]", "write `shape = \"google-service-account\"`"),
        (
            one("shape = \"google-service-account\"\nfiles = [\"google-service-account\"]"),
            7,
            "api.files[1]",
            "`https://oauth2.googleapis.com/token`, which `to` does not list",
        ),
        (one("shape = \"github\""), 6, "api.shape", "`github-pat`"),
        (one("inject = \"Host\""), 6, "api.inject", "frames or routes"),
        (one("inject = \"a b\""), 6, "api.inject", "`true` for `Authorization: Bearer`"),
        (one("in = [\"basic\"]\ninject = true"), 7, "api.inject", "add `header` to `in`"),
        (one("in = [\"header\"]\ninject = \"Authorization: Basic bot\""), 7, "api.inject", "add `basic` to `in`"),
        ("[api]\nBEGIN\nto = [\"*.a.example\"]\nfiles = [\"netrc\"]".to_owned(), 6, "api.files[1]", "add the host's name to `to`"),
        (
            "[a]\nBEGIN\nto = [\"a.example\"]\nfiles = [\"netrc\"]\n[b]\nBEGIN\nto = [\"a.example\"]\nfiles = [\"netrc\"]".to_owned(),
            12,
            "b.files[1]",
            "has an entry for `a.example` of another credential",
        ),
        (
            "[a]\nBEGIN\nto = [\"a.example\"]\nfiles = [{ path = \".netrc\", text = \"{placeholder}\" }]\n[b]\nBEGIN\nto = [\"b.example\"]\nfiles = [\"netrc\"]".to_owned(),
            12,
            "b.files[1]",
            "written for another credential",
        ),
        (
            "[a]\nBEGIN\nto = [\"a.example\"]\nfiles = [{ path = \".aws\", text = \"{placeholder}\" }]\n[b]\nBEGIN\nto = [\"b.example\"]\nshape = \"aws\"\nfiles = [\"aws\"]".to_owned(),
            13,
            "b.files[1]",
            "cannot both be files",
        ),
        (
            "[a]\nBEGIN\nto = [\"a.example\"]\nshape = \"aws\"\nenv = [\"A\", \"B\"]\n[b]\nBEGIN\nto = [\"b.example\"]\nenv = \"A\"".to_owned(),
            13,
            "b.env",
            "`A` is the variable of `a` too",
        ),
    ] {
        let error = parse(&text).expect_err(says);
        let [mistake] = error.mistakes() else { panic!("{says}: {error}") };
        assert_eq!((mistake.line, &*mistake.key), (line, key), "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert!(!mistake.remedy.is_empty(), "{error}");
    }
}

/// What an INI value, a YAML double-quoted scalar, a JSON string, a netrc token or a shell word can have as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=@$".contains(&b))
}

proptest! {
    #[test]
    fn what_is_put_into_files_never_needs_an_escape(
        shape in r"[a-z_-]{0,6}\[([a-z]-[z]|[A-Z0-9]|[!-~&&[^\]\[\\^-]]){1,6}\]\{(30|64)\}",
        user in r"[ -~]{1,12}",
        template in proptest::sample::select(vec!["netrc", "npmrc", "pypirc", "docker", "kubeconfig", "gh", "git"]),
    ) {
        let quoted = toml::Value::String(user.clone());
        let lines = format!("[api]\nBEGIN\nto = [\"a.example\"]\nshape = '{shape}'\nfiles = [{{ template = \"{template}\", user = {quoted} }}]");
        // Taken, or refused with a reason; never written in a way that reads as something else.
        if let Ok(credentials) = parse(&lines) {
            let grants = registered(&credentials);
            prop_assert!(is_plain(grants[0].1.value()) && is_plain(&user));
            let text = home_files(&grants, "/roots.pem").unwrap().remove(0).text;
            match template {
                "docker" => {
                    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let pair = BASE64_STANDARD.decode(read["auths"]["a.example"]["auth"].as_str().unwrap()).unwrap();
                    prop_assert_eq!(String::from_utf8(pair).unwrap(), format!("{user}:{}", grants[0].1.value()));
                }
                "netrc" => prop_assert_eq!(
                    text.split_whitespace().collect::<Vec<_>>(),
                    ["machine", "a.example", "login", &*user, "password", grants[0].1.value()]
                ),
                "git" => prop_assert!(!text.contains(grants[0].1.value()), "only within base64"),
                _ => prop_assert_eq!(text.matches(grants[0].1.value()).count(), 1),
            }
        }
    }
}
