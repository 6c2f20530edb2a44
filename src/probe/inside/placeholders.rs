//! Placeholders carried where their credential may not go.
//!
//! Enters: calls that each placeholder does not belong to; the placeholders are in the environment. Leaves: whether any was let through, in
//! whatever spelling. Never: a placeholder in a finding.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::brief::{Brief, Call, Misdirection};
use super::super::finding::{Outcome, Probe};
use super::answer::{Answer, judged};
use super::http2::{data, headers, preface, pseudo};
use super::request::post;
use super::{coded, gzip};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("placeholders/header", "in a header", |brief| {
        everywhere(brief, |call, placeholder| fields(call, "header", &[("X-Probe", placeholder)]))
    }),
    Probe::new("placeholders/bearer", "as a bearer, and as a cookie", |brief| {
        everywhere(brief, |call, placeholder| {
            let (bearer, cookie) = (format!("Bearer {placeholder}"), format!("probe={placeholder}"));
            fields(call, "bearer", &[("Authorization", &bearer), ("Cookie", &cookie)])
        })
    }),
    Probe::new("placeholders/basic", "as a password (Basic)", |brief| {
        everywhere(brief, |call, placeholder| {
            let basic = format!("Basic {}", STANDARD.encode(format!("probe:{placeholder}")));
            fields(call, "basic", &[("Authorization", &basic)])
        })
    }),
    Probe::new("placeholders/base64", "in a header, in base64", |brief| {
        everywhere(brief, |call, placeholder| {
            fields(call, "base64", &[("X-Probe", &STANDARD.encode(format!("x{placeholder}")))])
        })
    }),
    Probe::new("placeholders/query", "in the query", |brief| {
        everywhere(brief, |call, placeholder| {
            line(call, &format!("{}&a={}", call.target("placeholders/query"), tame(placeholder)))
        })
    }),
    Probe::new("placeholders/percent", "in the query, percent-encoded", |brief| {
        everywhere(brief, |call, placeholder| {
            line(call, &format!("{}&a={}", call.target("placeholders/percent"), percent(placeholder)))
        })
    }),
    Probe::new("placeholders/path", "in the path", |brief| {
        everywhere(brief, |call, placeholder| {
            let path = format!("{}/{}", call.path.trim_end_matches('/'), tame(placeholder));
            line(call, &Call { path, ..call.clone() }.target("placeholders/path"))
        })
    }),
    Probe::new("placeholders/method", "as the method, and as the protocol to connect for", |brief| {
        let method = everywhere(brief, |call, placeholder| {
            let method = placeholder.to_owned();
            line(&Call { method, ..call.clone() }, &call.target("placeholders/method"))
        });
        let protocol = tried(brief, |call, placeholder| {
            let (own, target) = (call.authority(), call.target("placeholders/method"));
            let head = [&pseudo("CONNECT", "https", &own, &target)[..], &[(":protocol", placeholder)]].concat();
            call.say_http2(1, &[&preface(), &headers(1, &head, false)])
        });
        Outcome::of_all([method, protocol], "")
    }),
    Probe::new("placeholders/field-name", "as the name of a header", |brief| {
        everywhere(brief, |call, placeholder| fields(call, "field-name", &[(placeholder, "1")]))
    }),
    Probe::new("placeholders/form", "in a form", |brief| {
        everywhere(brief, |call, placeholder| {
            body(
                call,
                "form",
                &["Content-Type: application/x-www-form-urlencoded"],
                format!("a={placeholder}").as_bytes(),
            )
        })
    }),
    Probe::new("placeholders/json", "in JSON, each character escaped", |brief| {
        everywhere(brief, |call, placeholder| {
            let escaped: String = placeholder.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
            body(call, "json", &["Content-Type: application/json"], format!("{{\"a\":\"{escaped}\"}}").as_bytes())
        })
    }),
    Probe::new("placeholders/gzip", "in a compressed body", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "gzip", &["Content-Encoding: gzip"], &gzip::compressed(format!("a {placeholder} b").as_bytes()))
        })
    }),
    Probe::new("placeholders/brotli", "in a body that is compressed by Brotli", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "brotli", &["Content-Encoding: br"], &coded::brotli(format!("a {placeholder} b").as_bytes()))
        })
    }),
    Probe::new("placeholders/zstd", "in a body that is compressed by zstd", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "zstd", &["Content-Encoding: zstd"], &coded::zstd(format!("a {placeholder} b").as_bytes()))
        })
    }),
    Probe::new(
        "placeholders/other-codings",
        "in a body that is compressed twice, and in a coding that nobody knows",
        |brief| {
            let twice = everywhere(brief, |call, placeholder| {
                let twice = gzip::compressed(&coded::zstd(placeholder.as_bytes()));
                body(call, "other-codings", &["Content-Encoding: zstd, gzip"], &twice)
            });
            let unknown = everywhere(brief, |call, placeholder| {
                body(call, "other-codings", &["Content-Encoding: x-probe"], STANDARD.encode(placeholder).as_bytes())
            });
            Outcome::of_all([twice, unknown], "")
        },
    ),
    Probe::new("placeholders/pieces", "in a body that comes in pieces, over HTTP/1 and over HTTP/2", |brief| {
        let one = tried(brief, |call, placeholder| {
            let whole = body(call, "pieces", &[], placeholder.as_bytes());
            let (first, second) = whole.split_at(whole.len() - placeholder.len() / 2);
            call.say_in_pieces(&[first, second])
        });
        let other = tried(brief, |call, placeholder| {
            let (first, second) = placeholder.split_at(placeholder.len() / 2);
            let head = head_of_two(call, "pieces", placeholder.len());
            call.say_http2(1, &[&[head, data(1, first.as_bytes(), false)].concat(), &data(1, second.as_bytes(), true)])
        });
        Outcome::of_all([one, other], "")
    }),
    Probe::new("placeholders/trailer", "in a field behind a body, over HTTP/2", |brief| {
        tried(brief, |call, placeholder| {
            let behind = headers(1, &[("x-probe", placeholder)], true);
            call.say_http2(1, &[&[head_of_two(call, "trailer", 3), data(1, b"abc", false), behind].concat()])
        })
    }),
    Probe::new("placeholders/bared", "to a host of its own, in the clear", |brief| {
        let tries = brief.bared.iter().map(|misdirection| {
            with_value(misdirection, |placeholder| {
                let call = &misdirection.call;
                let request = line(call, &format!("{}&a={}", call.target("placeholders/bared"), tame(placeholder)));
                let bearer = format!("Authorization: Bearer {placeholder}");
                let header = body(call, "bared", &[&bearer], b"");
                let in_the_clear = |request: &[u8]| {
                    let request = String::from_utf8_lossy(request);
                    let host =
                        (format!("Host: {}\r\n", call.authority()), format!("Host: {}\r\n", call.in_the_clear()));
                    call.say_plainly(request.replacen(&host.0, &host.1, 1).as_bytes())
                };
                Outcome::of_all([request, header].map(|said| judge(misdirection, || in_the_clear(&said))), "")
            })
        });
        Outcome::of_all(tries, "no rule lets out a call in the clear to where a placeholder belongs")
    }),
    Probe::new("placeholders/name", "in a host name", name),
];

/// A rule with a rate refuses before the placeholder is looked at; a little later it does not.
const RATE: Duration = Duration::from_millis(1200);
const TRIES: usize = 3;

/// Sends every placeholder to each call that it does not belong to.
pub(super) fn everywhere(brief: &Brief, request: impl Fn(&Call, &str) -> Vec<u8>) -> Outcome {
    tried(brief, |call, placeholder| call.say(&request(call, placeholder)))
}

/// Says something with every placeholder, at each call that it does not belong to.
fn tried(brief: &Brief, say: impl Fn(&Call, &str) -> io::Result<Answer>) -> Outcome {
    let tries = brief.placeholders.iter().map(|misdirection| {
        with_value(misdirection, |placeholder| judge(misdirection, || say(&misdirection.call, placeholder)))
    });
    Outcome::of_all(tries, "the environment has no placeholder")
}

/// The head of a request with a body, over HTTP/2, from the preface on.
fn head_of_two(call: &Call, name: &str, length: usize) -> Vec<u8> {
    let (own, target) = (call.authority(), call.target(&format!("placeholders/{name}")));
    let length = length.to_string();
    let head = [&pseudo(&call.method, "https", &own, &target)[..], &[("content-length", &*length)]].concat();
    [preface(), headers(1, &head, false)].concat()
}

pub(super) fn with_value(misdirection: &Misdirection, attempt: impl FnOnce(&str) -> Outcome) -> Outcome {
    match std::env::var(&misdirection.variable) {
        Ok(placeholder) if !placeholder.is_empty() => attempt(&placeholder),
        _ => Outcome::not_applicable(format!("{} is not set", misdirection.variable)),
    }
}

pub(super) fn judge(misdirection: &Misdirection, say: impl Fn() -> io::Result<Answer>) -> Outcome {
    let mut answer = say();
    for _ in 1..TRIES {
        if !answer.as_ref().is_ok_and(is_rate) {
            break;
        }
        std::thread::sleep(RATE);
        answer = say();
    }
    let Misdirection { variable, call, .. } = misdirection;
    let to = format!("{variable} to {}", call.host);
    if answer.as_ref().is_ok_and(is_rate) {
        return Outcome::not_applicable(format!("{to}: the rule's rate is used up"));
    }
    judged(&to, answer)
}

fn is_rate(answer: &Answer) -> bool {
    answer.kinds() == ["rate-limited"]
}

/// In a label of its own below a name that no rule lists.
fn name(brief: &Brief) -> Outcome {
    const LONGEST: usize = 63;
    let tries = brief.placeholders.iter().map(|misdirection| {
        with_value(misdirection, |placeholder| {
            if placeholder.len() > LONGEST
                || !placeholder.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            {
                return Outcome::not_applicable(format!("the placeholder of {} fits no name", misdirection.variable));
            }
            let call = Call {
                host: format!("{placeholder}.{}", brief.unlisted),
                port: brief.port,
                method: "GET".to_owned(),
                path: "/".to_owned(),
            };
            judged(&misdirection.variable, call.say(call.request("placeholders/name").as_bytes()))
        })
    });
    Outcome::of_all(tries, "the environment has no placeholder")
}

/// A request with another target.
fn line(call: &Call, target: &str) -> Vec<u8> {
    let (method, authority) = (&call.method, call.authority());
    format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").into_bytes()
}

fn fields(call: &Call, name: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let lines: Vec<String> = fields.iter().map(|(field, value)| format!("{field}: {value}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    body(call, name, &lines, b"")
}

pub(super) fn body(call: &Call, name: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    post(call, &format!("placeholders/{name}"), fields, body)
}

/// What may stand in a target as it is stays; the rest is escaped.
fn tame(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
