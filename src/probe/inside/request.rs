//! Requests down to the byte: HTTP/1.1 from a template.
//!
//! Enters: what a request shall say, well-formed or not. Leaves: its bytes, and an answer. Never: a library that would mend it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::super::brief::{Brief, Call};
use super::super::evidence::{MARK, SENT};
use super::super::finding::Outcome;
use super::answer::{self, Answer, judged};
use super::http2::Streams;
use super::resolver;
use super::tls::{self, Hello};

/// An attempt at a call that only what is wrong with the attempt speaks against. Where the policy allows none, the refusal would be for want of
/// a rule, however it was read.
pub(super) fn allowed(brief: &Brief, attempt: impl FnOnce(&Call) -> Outcome) -> Outcome {
    let none = || Outcome::not_applicable("no rule allows an ordinary call, so anything is refused for want of one");
    brief.allowed.as_ref().map_or_else(none, attempt)
}

/// A call that no rule allows.
pub(super) fn unlisted(brief: &Brief) -> Call {
    Call { host: brief.unlisted.clone(), port: brief.port, method: "GET".to_owned(), path: "/".to_owned() }
}

impl Call {
    /// As in `Host`.
    pub(super) fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// As in `Host` on a connection without TLS.
    pub(super) fn in_the_clear(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Path and query, with the mark by which the attempt would be found in the log, and nobody may let out.
    pub(super) fn target(&self, id: &str) -> String {
        format!("{}?{MARK}={id}", self.path)
    }

    /// The same of what may go out in the way in which it was judged.
    pub(super) fn sent(&self, id: &str) -> String {
        format!("{}?{SENT}={id}", self.path)
    }

    /// A well-formed request.
    pub(super) fn request(&self, id: &str) -> String {
        self.request_to(&self.authority(), id)
    }

    /// The same with something else in `Host`.
    pub(super) fn request_to(&self, host: &str, id: &str) -> String {
        let (method, target) = (&self.method, self.target(id));
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }

    /// Where its name leads, as the name server says.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(IpAddr::V4(resolver::address_of(&self.host)?), self.port))
    }

    /// Says something over TLS where the call goes, by its name.
    pub(super) fn say(&self, bytes: &[u8]) -> io::Result<Answer> {
        self.say_in_pieces(&[bytes])
    }

    /// The same, one piece after the other.
    pub(super) fn say_in_pieces(&self, pieces: &[&[u8]]) -> io::Result<Answer> {
        tls::in_pieces(&self.hello(0)?, pieces)
    }

    /// The same over HTTP/2, for so many requests.
    pub(super) fn say_http2(&self, requests: usize, pieces: &[&[u8]]) -> io::Result<Answer> {
        tls::in_pieces(&self.hello(requests)?, pieces)
    }

    /// How a connection to it begins.
    pub(super) fn hello(&self, http2: usize) -> io::Result<Hello<'_>> {
        Ok(Hello { to: self.address()?, server_name: Some(&self.host), http2 })
    }

    /// The same in the clear, over HTTP/2.
    pub(super) fn say_plainly_http2(&self, requests: usize, bytes: &[u8]) -> io::Result<Answer> {
        answer::plain_until(self.address()?, bytes, |came| {
            Streams::read(came).is_some_and(|read| read.are_over(requests))
        })
    }

    /// The same in the clear, one piece after the other.
    pub(super) fn say_plainly_in_pieces(&self, pieces: &[&[u8]]) -> io::Result<Answer> {
        answer::plain_in_pieces(self.address()?, pieces)
    }

    /// The same in the clear.
    pub(super) fn say_plainly(&self, bytes: &[u8]) -> io::Result<Answer> {
        answer::plain(self.address()?, bytes)
    }
}

/// A request with a body; without a mark, where a query would be one more thing that is wrong with it.
pub(super) fn post(call: &Call, id: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let target = if id.is_empty() { call.path.clone() } else { call.target(id) };
    post_to(call, &target, fields, body)
}

/// The same to a target of choice.
pub(super) fn post_to(call: &Call, target: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let (method, authority) = (&call.method, call.authority());
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{length}{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// A request of a template's with more fields, and a body.
pub(super) fn with(fields: &[&str], body: &str) -> String {
    let closing =
        if fields.iter().any(|field| field.starts_with("Connection:")) { "" } else { "Connection: close\r\n" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("@METHOD@ @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n{closing}{fields}\r\n{body}")
}

/// Requests that nobody may take, at a call that is allowed.
pub(super) fn never(brief: &Brief, id: &str, templates: &[&str]) -> Outcome {
    allowed(brief, |call| never_at(call, brief, id, templates))
}

/// The same at a call of choice.
pub(super) fn never_at(call: &Call, brief: &Brief, id: &str, templates: &[&str]) -> Outcome {
    let said = |template: &&str| call.say(filled(template, call, &call.target(id), &brief.unlisted).as_bytes());
    Outcome::of_all(templates.iter().map(|template| judged("", said(template))), "")
}

/// Fills a template: `@METHOD@` and `@HOST@` of the call, `@TARGET@`, `@OTHER@` for another host.
pub(super) fn filled(template: &str, call: &Call, target: &str, other: &str) -> String {
    template
        .replace("@METHOD@", &call.method)
        .replace("@TARGET@", target)
        .replace("@HOST@", &call.authority())
        .replace("@OTHER@", other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled() {
        let call = Call { host: "a.example".into(), port: 8443, method: "PUT".into(), path: "/x".into() };
        let request = filled("@METHOD@ @TARGET@ @HOST@ @OTHER@", &call, &call.target("framing/a"), "b.example");
        assert_eq!(request, "PUT /x?probe=framing/a a.example:8443 b.example");
    }
}
