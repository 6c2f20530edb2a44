//! Bodies whose chunks are signed one by one: the examples of S3's documents, there and back again.

use broker::KeyPair;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request};
use proxy::sign::{Chunks, Unsigned};

use crate::sample::{S3_SECRET, Sample, pair};

/// The example of signed chunks: 64 KiB of `a`, 1 KiB of it, and the end.
fn chunked(payload: &str, more: &[(&str, &str)], seed: &str, signatures: [&str; 3], end: &str) -> Sample {
    let mut fields = vec![
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ];
    fields.extend(more);
    let mut sample = Sample::of_s3("PUT", "/examplebucket/chunkObject.txt", payload, &fields, seed);
    sample.headers.insert(HOST, HeaderValue::from_static("s3.amazonaws.com"));
    sample.body = [
        format!("10000;chunk-signature={}\r\n{}\r\n", signatures[0], "a".repeat(65536)),
        format!("400;chunk-signature={}\r\n{}\r\n", signatures[1], "a".repeat(1024)),
        format!("0;chunk-signature={}\r\n{end}\r\n", signatures[2]),
    ]
    .concat()
    .into_bytes();
    sample
}

fn published_chunks() -> [Sample; 2] {
    [
        chunked(
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            &[("content-length", "66824")],
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
            "",
        ),
        chunked(
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            &[("x-amz-trailer", "x-amz-checksum-crc32c")],
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
            "x-amz-checksum-crc32c:sOO8/Q==\r\n\
             x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
        ),
    ]
}

/// Signs the body behind a head anew, in pieces of `cut`.
fn body_again(
    sample: &Sample,
    secret: &str,
    body: &[u8],
    cut: usize,
    pair: &KeyPair,
) -> Result<(Sample, Vec<u8>), Unsigned> {
    let again = sample.again(secret, pair);
    let verified = sample.verify(secret).unwrap();
    let (mut parts, ()) = Request::put(&sample.path).body(()).unwrap().into_parts();
    parts.headers = sample.headers.clone();
    let resigned = verified.sign(&mut parts, &sample.headers[HOST], Some(66824), pair).unwrap();
    let mut chunks = Chunks::behind(verified, resigned).expect("chunks");
    let mut out = Vec::new();
    for piece in body.chunks(cut) {
        out.extend_from_slice(&chunks.push(Bytes::copy_from_slice(piece))?);
    }
    if chunks.has_ended() { Ok((again, out)) } else { Err(Unsigned::Form("it breaks off")) }
}

#[test]
fn signed_chunks_are_signed_anew_and_there_and_back_again_they_are_what_they_were() {
    let other = pair("ASIAOTHER:other:session");
    let back = pair(&format!("AKIAIOSFODNN7EXAMPLE:{S3_SECRET}"));
    for sample in published_chunks() {
        for cut in [1, 1000, 65536 + 87, 1 << 20] {
            let (again, body) = body_again(&sample, S3_SECRET, &sample.body, cut, &other).unwrap();
            assert_eq!(body.len(), sample.body.len());
            assert_ne!(body, sample.body);
            // Whoever has the other secret finds every signature right, and signs with the first what AWS publishes. Its head has no
            // session then, as the example has none.
            let mut again = Sample { body, ..again };
            again.headers.remove("x-amz-storage-class");
            again.headers.insert("x-amz-storage-class", HeaderValue::from_static("REDUCED_REDUNDANCY"));
            let (_, round) = body_again(&again, "other", &again.body, cut, &back).unwrap();
            assert_eq!(round.len(), sample.body.len());
            assert!(round == sample.body, "cut by {cut}");
        }
    }
}

#[test]
fn a_chunk_that_is_not_signed_ends_the_body_before_a_byte_of_it() {
    let other = pair("ASIAOTHER:other:session");
    for sample in published_chunks() {
        let text = String::from_utf8(sample.body.clone()).unwrap();
        let signature = |n: usize| text.match_indices("signature").nth(n).unwrap().0 + "signature".len() + 1;
        for (at, with) in [
            (signature(0), "0"),
            (signature(1), "0"),
            (signature(2), "0"),
            (200, "b"),
            (signature(1) + 70, "b"),
            (text.len() - 10, "0"),
        ] {
            let mut bad = text.clone();
            bad.replace_range(at..=at, if &text[at..=at] == with { "1" } else { with });
            assert!(body_again(&sample, S3_SECRET, bad.as_bytes(), 1000, &other).is_err(), "{at}");
        }
        let without =
            |from: &str, to: &str| body_again(&sample, S3_SECRET, text.replacen(from, to, 1).as_bytes(), 999, &other);
        for (from, to) in [
            ("10000;", "0010000;x=y;"),
            ("chunk-signature=", "signature="),
            ("400;", "100001;"),
            ("0;", "0 ;"),
            ("\r\n0;", "\r\n00;x;"),
        ] {
            assert!(without(from, to).is_err(), "{from:?} → {to:?}");
        }
        assert!(
            body_again(&sample, S3_SECRET, &text.as_bytes()[..text.len() - 2], 999, &other).is_err(),
            "it breaks off"
        );
        assert!(body_again(&sample, S3_SECRET, format!("{text}\r\n").as_bytes(), 999, &other).is_err(), "it goes on");
    }
    // What the head does not announce is not behind the last chunk.
    let [plain, _] = published_chunks();
    let text = String::from_utf8(plain.body.clone()).unwrap();
    let more = format!("{}a:b\r\n\r\n", &text[..text.len() - 2]);
    assert!(body_again(&plain, S3_SECRET, more.as_bytes(), 999, &other).is_err());
}

#[test]
fn a_chunk_longer_than_the_bound_is_not_held() {
    let [sample, _] = published_chunks();
    let head = format!("{:x};chunk-signature={}\r\n", 1024 * 1024 + 1, "0".repeat(64));
    let refused = body_again(&sample, S3_SECRET, head.as_bytes(), 10, &pair("A:b")).unwrap_err();
    assert_eq!(refused, Unsigned::LongChunk);
}
