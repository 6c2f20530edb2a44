//! Placeholders in bodies that have to be taken apart before anything is seen in them.
//!
//! Enters: calls that each placeholder does not belong to. Leaves: whether any was let through. Never: a placeholder in a finding.

use super::super::finding::{Outcome, Probe};
use super::placeholders::{body, everywhere};
use super::{coded, gzip};

pub(super) const PROBES: &[Probe] = &[
    Probe::new("placeholders/grpc", "in a gRPC message, as it is and compressed", |brief| {
        let tries = [(0, false), (1, true)].map(|(flag, compressed)| {
            everywhere(brief, |call, placeholder| {
                let message = placeholder.as_bytes();
                let message = if compressed { gzip::compressed(message) } else { message.to_owned() };
                let length = message.len().to_be_bytes();
                let fields = ["Content-Type: application/grpc", "TE: trailers", "grpc-encoding: gzip"];
                body(call, "grpc", &fields, &[&[flag], &length[4..], &message].concat())
            })
        });
        Outcome::of_all(tries, "")
    }),
    Probe::new("placeholders/deflate", "in a body that is compressed by deflate", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "deflate", &["Content-Encoding: deflate"], &gzip::zlib(placeholder.as_bytes()))
        })
    }),
    Probe::new("placeholders/gzip-members", "in a body of two gzip members, cut in the middle", |brief| {
        everywhere(brief, |call, placeholder| {
            let (first, second) = placeholder.as_bytes().split_at(placeholder.len() / 2);
            let members = [gzip::compressed(first), gzip::compressed(second)].concat();
            body(call, "gzip-members", &["Content-Encoding: gzip"], &members)
        })
    }),
    Probe::new("placeholders/gzip-name", "in the name that a gzip member has, where decoders do not look", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "gzip-name", &["Content-Encoding: gzip"], &gzip::named(placeholder, b"nothing"))
        })
    }),
    Probe::new("placeholders/zstd-skipped", "in a frame of zstd that decoders skip", |brief| {
        everywhere(brief, |call, placeholder| {
            let frames = [coded::skipped(placeholder.as_bytes()), coded::zstd(b"nothing")].concat();
            body(call, "zstd-skipped", &["Content-Encoding: zstd"], &frames)
        })
    }),
    Probe::new("placeholders/aws-chunked", "in an upload's chunks (aws-chunked), cut in the middle", |brief| {
        everywhere(brief, |call, placeholder| {
            let (first, second) = placeholder.split_at(placeholder.len() / 2);
            let chunks = [first, second, ""].map(|text| format!("{:x}\r\n{text}\r\n", text.len())).concat();
            let fields = ["Content-Encoding: aws-chunked", "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER"];
            body(call, "aws-chunked", &fields, chunks.as_bytes())
        })
    }),
    Probe::new("placeholders/bomb", "behind as much of nothing as a decoder may give up at", |brief| {
        everywhere(brief, |call, placeholder| {
            body(call, "bomb", &["Content-Encoding: zstd"], &coded::bomb(placeholder.as_bytes()))
        })
    }),
];
