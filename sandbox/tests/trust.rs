//! Clients nobody adapted trust the worker's authority, wherever they look for theirs.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod harness;
use harness::{Sandbox, starters};
use std::{fs, process::Command};

fn authority(sandbox: &Sandbox) -> String {
    let path = |name: &str| sandbox.directory.path().join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"])
        .args(["-subj", "/O=Exeat  Test/CN=Worker CA", "-addext", "basicConstraints=critical,CA:TRUE"])
        .args(["-keyout", &path("key.pem"), "-out", &path("ca.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::set_permissions(path("ca.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    path("ca.pem")
}

#[test]
fn the_bundle_the_hash_directory_and_java_know_the_workers_authority() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let ca = authority(&sandbox);
        let sandbox = sandbox.with(&["--ca", &ca]);
        let script = "openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt -no-CApath ca.pem
                      openssl verify -CApath /etc/ssl/certs -no-CAfile ca.pem
                      openssl verify -CApath /etc/ssl/certs -no-CAfile \"$(ls -d /etc/ssl/certs/*.pem | grep -v exeat | head -1)\" | grep -c OK
                      grep -c BEGIN /etc/ssl/cert.pem /etc/pki/tls/certs/ca-bundle.crt | sort -u -t: -k2 | wc -l";
        assert_eq!(sandbox.sh(script).ok(), "ca.pem: OK\nca.pem: OK\n1\n1\n", "{starter:?}");
        let count = |text: &str| text.matches("BEGIN CERTIFICATE").count();
        let bundle = sandbox.sh("cat /etc/ssl/certs/ca-certificates.crt").ok();
        let systems = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
        assert_eq!(count(&bundle), count(&systems) + 1, "{starter:?}");
    }
}

#[test]
fn every_variable_names_a_full_bundle_that_is_there() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter).with(&["--trust-env"]);
        let script =
            "for name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE AWS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO \
                      NODE_EXTRA_CA_CERTS npm_config_cafile DENO_CERT CARGO_HTTP_CAINFO \
                      GRPC_DEFAULT_SSL_ROOTS_FILE_PATH; do grep -q BEGIN \"${!name}\" || echo $name; done
                      test -d $SSL_CERT_DIR && test -s ${JAVA_TOOL_OPTIONS#*=} && echo all";
        assert_eq!(sandbox.sh(script).ok(), "all\n", "{starter:?}");
    }
}

#[test]
fn javas_key_store_reads_and_its_digest_is_right() {
    // The format is checked here without a Java: header, count, and SHA-1 over password, phrase and content.
    let script = r#"
import hashlib, ssl, struct
store = open("/etc/ssl/certs/java/cacerts", "rb").read()
magic, version, count = struct.unpack(">III", store[:12])
digest = hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + store[:-20]).digest()
pem = open("/etc/ssl/certs/ca-certificates.crt").read()
all = [ssl.PEM_cert_to_DER_cert(one.strip() + "\n" + ssl.PEM_FOOTER) for one in pem.split(ssl.PEM_FOOTER)[:-1]]
worker = ssl.PEM_cert_to_DER_cert(open("/etc/ssl/certs/exeat-worker.pem").read().strip())
missing = sum(one not in store for one in all)
print(hex(magic), version, count == len(all) > 50, missing, worker == all[-1], digest == store[-20:])
"#;
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let ca = authority(&sandbox);
        let out = sandbox.with(&["--ca", &ca]).run(&["/usr/bin/python3", "-c", script]).ok();
        assert_eq!(out, "0xfeedfeed 2 True 0 True True\n", "{starter:?}");
    }
}

#[test]
fn nss_knows_the_authority_and_its_own_tools_go_on_with_the_database() {
    for starter in starters() {
        let sandbox = Sandbox::of(starter);
        let ca = authority(&sandbox);
        let sandbox = sandbox.with(&["--ca", &ca]);
        // Opened to read only, a database whose other file nobody has made yet is no database to it; so it adds one first.
        let script = "set -e
            stat -c '%a %U' ~/.pki/nssdb ~/.pki/nssdb/cert9.db
            python3 -c 'import os, sqlite3
print(*sqlite3.connect(os.path.expanduser(\"~/.pki/nssdb/cert9.db\")).execute(\"PRAGMA integrity_check\").fetchone())'
            make='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=another'
            $make -keyout /dev/null -out /tmp/another.pem 2>/dev/null
            cd ~/.pki/nssdb
            certutil -d sql:. -A -n another -t ,, -i /tmp/another.pem
            certutil -d sql:. -L | grep -E ' C?,, ' | sed 's/  */ /g' | sort
            certutil -d sql:. -L -n 'exeat worker' -a | cmp <(openssl x509 -in $OLDPWD/ca.pem -outform DER) <(openssl x509 -outform DER)
            certutil -d sql:. -V -u L -n 'exeat worker'
            ! certutil -d sql:. -V -u L -n another";
        let out = sandbox.sh(script).ok();
        let told = "700 agent\n600 agent\nok\nanother ,, \nexeat worker C,, \ncertutil: certificate is valid\n";
        assert!(out.starts_with(told), "{starter:?}: {out:?}");
    }
}
