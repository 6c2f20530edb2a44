//! Clients that show their user no more than a part of an answer show whose refusal it is, and most of them what was refused.

use crate::harness::{Exeat, node_tools, python_tools, tools};

/// A policy that allows nothing, with the tests' tools in sight.
fn exeat() -> Exeat {
    Exeat::new().sandbox(&format!("read = [\"{}\"]", tools().display()))
}

/// What a Python program that fails says.
#[track_caller]
fn python(program: &str) -> String {
    exeat().run(&[&python_tools(), "-c", program]).ended_with(1).stderr
}

#[test]
fn who_shows_the_status_line_shows_why() {
    for program in [
        "import requests; requests.get('https://api.example.com/').raise_for_status()",
        "import urllib.request; urllib.request.urlopen('https://api.example.com/')",
        "import httpx; httpx.get('https://api.example.com/').raise_for_status()",
    ] {
        let shown = python(program);
        assert!(shown.contains("Forbidden (exeat: host-not-listed)"), "{shown}");
    }
    let wget = exeat().sh("wget -O /dev/null https://api.example.com/ 2>&1 || true").ok().stdout;
    assert!(wget.contains("ERROR 403: Forbidden (exeat: host-not-listed)"), "{wget}");
    let npm = exeat().sh("npm view left-pad --registry=https://registry.example.com 2>&1 || true").ok().stdout;
    assert!(
        npm.contains(
            "403 Forbidden (exeat: host-not-listed) - GET https://registry.example.com/left-pad - exeat did not"
        ),
        "{npm}"
    );
}

#[test]
fn who_shows_a_message_shows_what_was_refused_and_what_to_ask_for() {
    let openai = python("import openai; openai.OpenAI(api_key='x', max_retries=0).models.list()");
    let node = |program: &str| {
        let script = format!("cd '{}' && node --input-type=module -e '{program}'", node_tools());
        exeat().sh(&script).ok().stdout
    };
    let openai_for_node = node(
        "import OpenAI from \"openai\"; new OpenAI({ apiKey: \"x\", maxRetries: 0 }).models.list().catch(error => console.log(String(error)))",
    );
    for shown in [&openai, &openai_for_node] {
        assert!(
            shown.contains("GET https://api.openai.com/v1/models is not allowed: no rule lists this host"),
            "{shown}"
        );
    }
    let octokit = node(
        "import { Octokit } from \"octokit\"; new Octokit().request(\"GET /user\").catch(error => console.log(String(error)))",
    );
    let gh = exeat().sh("GH_TOKEN=x gh api /user 2>&1 >/dev/null || true").ok().stdout;
    for shown in [&octokit, &gh] {
        assert!(shown.contains("exeat did not let this call out: GET https://api.github.com/user"), "{shown}");
        assert!(shown.contains("[[allow]]"), "{shown}");
    }
}

#[test]
fn git_shows_the_whole_of_it() {
    let run = exeat().run(&["git", "ls-remote", "https://git.example.com/acme/site.git"]).ended_with(128);
    for line in [
        "remote: exeat did not let this call out: GET https://git.example.com/acme/site.git/info/refs is not allowed",
        "remote: to = \"git.example.com\"",
        "fatal: unable to access 'https://git.example.com/acme/site.git/': The requested URL returned error: 403",
    ] {
        assert!(run.stderr.contains(line), "{line}: {run:#?}");
    }
}

/// As OpenSSH reads it: the server's identification, then one packet, that of a disconnect.
const SSH: &str = "import socket, struct
with socket.create_connection(('git.example.com', 22), 10) as stream:
    stream.sendall(b'SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\\r\\n' + b'x' * 6000)
    stream.settimeout(10)
    received = b''
    while more := stream.recv(4096):
        received += more
line, packet = received.split(b'\\r\\n', 1)
length, padding = struct.unpack('>IB', packet[:5])
payload = packet[5:4 + length - padding]
kind, reason, size = struct.unpack('>BII', payload[:9])
print(line.decode(), length + 4 == len(packet), kind, reason)
print(payload[9:9 + size].decode())";

#[test]
fn an_ssh_client_is_told_why_in_its_own_words() {
    let run = exeat().python(SSH).ok();
    assert!(
        run.stdout.starts_with("SSH-2.0-exeat True 1 1\nexeat did not let this connection out: it is SSH"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("to = \"git.example.com:22\" and tls = \"tcp\""), "{run:#?}");
    let refused = run.log.refusals();
    assert_eq!((refused.len(), refused[0].kind.as_str()), (1, "not-http"));
    assert!(refused[0].hint.as_deref().unwrap().contains("tls = \"tcp\""), "{refused:?}");
}
