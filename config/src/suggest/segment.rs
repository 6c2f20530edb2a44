//! What of a path names one thing of many: numbers, digests, UUIDs, versions, random characters.
//!
//! Enters: the segments of a normalised path. Leaves: a pattern for each, with `*` where such a name stands. Never: a pattern that the
//! segment does not match, a bare `*` for the first segment, or a `*` that a client wrote.

/// Shorter hexadecimal texts are words (`facade`, `ed25519`); short digests of Git have seven characters and are left alone.
const SHORTEST_HEX: usize = 8;
/// Below it a random text cannot be told from an abbreviation.
const SHORTEST_RANDOM: usize = 10;
/// Of a number within a longer name: `page-2` and `utf-8` are names, `issue-123` and `report-2026` are not.
const SHORTEST_NUMBER: usize = 3;
/// Longer than what people call things.
const LONGEST_NAME: usize = 100;
/// Directories into which stores spread their digests: `/d9/5a/e7c31a…`.
const LONGEST_SHARD: usize = 4;
/// How far behind such a directory the digest stands.
const SHARDS: usize = 3;
/// What stands behind the numbers of a version.
const STAGES: [&str; 9] = ["rc", "alpha", "beta", "a", "b", "pre", "post", "dev", "final"];

/// A pattern for each segment of a path in normal form, without its first slash.
pub(super) fn patterns(path: &str) -> Vec<String> {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let shard = |at: usize| {
        let digest = |segment: &&&str| segment.len() >= 2 * SHORTEST_HEX && is_hex(segment);
        let behind = segments.iter().skip(at + 1).take(SHARDS);
        is_short_hex(segments[at]) && behind.filter(digest).count() > 0
    };
    let pattern = |(at, segment): (usize, &&str)| match pattern(segment) {
        // What stands first tells one API from another.
        bare if bare == "*" && at == 0 && !segment.contains('%') => literal(segment),
        _ if at > 0 && shard(at) => "*".to_owned(),
        pattern => pattern,
    };
    segments.iter().enumerate().map(pattern).collect()
}

/// A segment itself, as a pattern.
pub(super) fn literal(segment: &str) -> String {
    segment.replace('*', "%2A")
}

fn pattern(segment: &str) -> String {
    // A server that decodes once more sees another text, and a pattern has to have both.
    if segment.contains("%25") || segment.len() > LONGEST_NAME || is_one_of_many(segment) {
        return "*".to_owned();
    }
    let pieces = pieces(segment);
    // `1.1` and `v1.41` are how some APIs begin; a release has three numbers, or a name before it.
    if pieces.len() == 3 && version(&pieces) == Some(3) {
        return literal(segment);
    }
    let mut out = String::new();
    let mut at = 0;
    while at < pieces.len() {
        let taken = version(&pieces[at..]).or_else(|| uuid(&pieces[at..])).or_else(|| one(&pieces[at..]));
        match taken {
            Some(taken) => {
                // A letter before a version is part of how it is written.
                out += if pieces[at].starts_with('v') { "v*" } else { "*" };
                at += taken;
            }
            None => {
                out += &literal(pieces[at]);
                at += 1;
            }
        }
    }
    // Two names that stand for one thing each are one pattern, which may not have `**`.
    while out.contains("**") {
        out = out.replace("**", "*");
    }
    out
}

/// Whether a whole segment names one thing of many.
fn is_one_of_many(segment: &str) -> bool {
    let all_digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    let pieces = pieces(segment);
    let whole = |taken: Option<usize>| taken == Some(pieces.len());
    let date = matches!(&pieces[..], [year, "-", month, "-", day]
        if (year.len(), month.len(), day.len()) == (4, 2, 2) && [year, month, day].iter().all(|part| is_number(part)));
    let release = whole(version(&pieces)) && pieces.len() >= 5 && !segment.starts_with('v');
    let mixed = |is: fn(&u8) -> bool| segment.bytes().any(|byte| is(&byte));
    let base64 = segment.len() >= 2 * SHORTEST_RANDOM
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=~".contains(&byte))
        && mixed(u8::is_ascii_lowercase)
        && mixed(u8::is_ascii_uppercase)
        && mixed(u8::is_ascii_digit)
        && is_without_words(&segment.replace(['-', '_', '=', '~'], ""));
    all_digits || date || release || whole(uuid(&pieces)) || whole(one(&pieces)) || base64
}

/// Runs of letters and digits, and what is between them.
fn pieces(segment: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = segment;
    while !rest.is_empty() {
        let escaped = if rest.starts_with('%') { 3.min(rest.len()) } else { 0 };
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(escaped.max(run).max(1));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// How many pieces are one version: `1.16.0`, `v2.0`, `3.0.0rc1`, `1.0.0-beta.2`.
fn version(pieces: &[&str]) -> Option<usize> {
    let first = pieces.first()?;
    if !is_number(first.strip_prefix('v').unwrap_or(first)) {
        return None;
    }
    let mut taken = 1;
    while let [".", next, ..] = pieces.get(taken..).unwrap_or_default()
        && is_number_and_stage(next)
    {
        taken += 2;
    }
    if taken == 1 {
        return None;
    }
    while let ["-" | "." | "+", next, ..] = pieces.get(taken..).unwrap_or_default()
        && (is_stage(next) || (taken > 3 && pieces[taken] == "." && is_number(next)))
    {
        taken += 2;
    }
    Some(taken)
}

/// `8-4-4-4-12` hexadecimal digits.
fn uuid(pieces: &[&str]) -> Option<usize> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let groups = pieces.iter().step_by(2).take(5);
    let between = pieces.iter().skip(1).step_by(2).take(4);
    let right = groups.clone().count() == 5
        && groups
            .zip(GROUPS)
            .all(|(group, length)| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit()))
        && between.clone().count() == 4
        && between.into_iter().all(|between| *between == "-");
    right.then_some(9)
}

/// Whether the first piece alone is a name of one thing.
fn one(pieces: &[&str]) -> Option<usize> {
    let piece = *pieces.first()?;
    let number = is_number(piece) && piece.len() >= SHORTEST_NUMBER;
    let ulid = piece.len() == 26 && piece.bytes().any(|byte| byte.is_ascii_digit()) && {
        piece.bytes().all(|byte| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte)))
    };
    let digits = piece.bytes().filter(u8::is_ascii_digit).count();
    let random = piece.len() >= SHORTEST_RANDOM && digits >= 2 && is_without_words(piece);
    let hex = piece.len() >= SHORTEST_HEX && is_hex(piece);
    (number || ulid || random || hex).then_some(1)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number_and_stage(text: &str) -> bool {
    let stage = text.trim_start_matches(|c: char| c.is_ascii_digit());
    stage.len() < text.len() && (stage.is_empty() || is_stage(stage))
}

fn is_stage(text: &str) -> bool {
    let name = text.trim_end_matches(|c: char| c.is_ascii_digit());
    STAGES.contains(&name)
}

/// Hexadecimal digits of one case, and not a word or a number.
fn is_hex(text: &str) -> bool {
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let one_case = |upper: u8| text.bytes().all(|b| b.is_ascii_digit() || (upper..=upper + 5).contains(&b));
    (digit || text.len() >= 32) && (one_case(b'a') || one_case(b'A'))
}

fn is_short_hex(text: &str) -> bool {
    (1..=LONGEST_SHARD).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether letters and digits change so often that there can be no words: `dQw4w9WgXcQ` and not `getAccount2`.
fn is_without_words(text: &str) -> bool {
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        _ => 2,
    };
    let classes: Vec<u8> = text.bytes().map(class).collect();
    // A capital and what follows it are one word.
    let breaks = classes.windows(2).filter(|pair| pair[0] != pair[1] && (pair[0], pair[1]) != (1, 2)).count();
    2 * text.len() <= 5 * (breaks + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_thing_become_a_star_and_names_of_kinds_stay() {
        for (path, expected) in [
            ("/repos/acme/widgets/pulls/12", "repos/acme/widgets/pulls/*"),
            ("/2/users/17", "2/users/*"),
            ("/12345", "12345"),
            ("/v1/things", "v1/things"),
            ("/api/1.1/statuses", "api/1.1/statuses"),
            ("/x/v1.41/containers/v1.2.3", "x/v1.41/containers/v*"),
            ("/u/123e4567-e89b-42d3-a456-426614174000/x", "u/*/x"),
            ("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "u/*"),
            ("/watch/dQw4w9WgXcQ", "watch/*"),
            ("/rpc/getUserAccountSettingsById2", "rpc/getUserAccountSettingsById2"),
            ("/x/getting-started-with-2fa", "x/getting-started-with-2fa"),
            ("/keys/ed25519", "keys/ed25519"),
            ("/v2/app/blobs/sha256:9f86d081884c7d659a2feaa0c55ad015", "v2/app/blobs/sha256:*"),
            ("/js/main.8f3a2b1c.chunk.js", "js/main.*.chunk.js"),
            ("/thing/-/thing-7.0.0.tgz", "thing/-/thing-*.tgz"),
            ("/go/@v/v1.2.3.info", "go/@v/v*.info"),
            ("/p/1.0.0-beta.2", "p/*"),
            ("/f/thing-3.0.0rc1.tar.gz", "f/thing-*.tar.gz"),
            (
                "/f/d9/5a/e7c31adbe875f2abbb91bd84cf2dc52d792b5a01/thing-1.16.0-py2.py3-none-any.whl",
                "f/*/*/*/thing-*-py2.py3-none-any.whl",
            ),
            ("/f/n-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl", "f/n-*-cp311-cp311-manylinux_2_17_x86_64.whl"),
            ("/log/2026-01-31/x", "log/*/x"),
            ("/a/100%25ab", "a/*"),
            ("/a/b*c", "a/b%2Ac"),
            ("/", ""),
            ("/a/", "a/"),
        ] {
            assert_eq!(patterns(path).join("/"), expected, "{path}");
        }
    }
}
