//! What an SSH client is told whose connection goes no further: a reason that it prints, where it would print a cut connection.
//!
//! Enters: where it was going. Leaves: an identification line and one `SSH_MSG_DISCONNECT` (RFC 4253 sections 4.2 and 11.1), which are the
//! beginning and the end of a server. Never: a key exchange, or anything that the client has said.

use config::Destination;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::limit::SSH_WAIT;

const IDENTIFICATION: &[u8] = b"SSH-2.0-exeat\r\n";
const DISCONNECT: u8 = 1;
/// `SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT`.
const NOT_ALLOWED: u32 = 1;
/// What a packet's length is a multiple of while nothing is encrypted, and how much padding there is at least (section 6).
const BLOCK: usize = 8;
const LEAST_PADDING: usize = 4;

/// Whether a connection begins so.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SSH-")
}

/// Tells the client why. What it has sent meanwhile is not read: it is on this machine, whose kernel hands over what came before a reset.
pub(crate) async fn disconnect<S: AsyncWrite + Unpin>(mut stream: S, to: &Destination) {
    let told = async {
        stream.write_all(&farewell(to)).await?;
        stream.shutdown().await
    };
    // A client that reads nothing is owed nothing: the refusal is in the log.
    let _ = timeout(SSH_WAIT, told).await;
}

fn farewell(to: &Destination) -> Vec<u8> {
    let told = format!(
        "exeat did not let this connection out: it is SSH, which no rule lets through to {to}. Use HTTPS instead (git: \
         https://HOST/PATH), or ask your operator for a rule with to = \"{to}\" and tls = \"tcp\""
    );
    let mut payload = vec![DISCONNECT];
    payload.extend(NOT_ALLOWED.to_be_bytes());
    for text in [told.as_str(), "en"] {
        payload.extend(u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
        payload.extend(text.as_bytes());
    }
    // The length of the length, of the padding's length, of the payload and of the padding is a whole number of blocks.
    let unpadded = size_of::<u32>() + 1 + payload.len();
    let padding = LEAST_PADDING + (BLOCK - (unpadded + LEAST_PADDING) % BLOCK) % BLOCK;
    let mut bytes = IDENTIFICATION.to_vec();
    bytes.extend(u32::try_from(1 + payload.len() + padding).unwrap_or_default().to_be_bytes());
    bytes.push(u8::try_from(padding).unwrap_or_default());
    bytes.extend(payload);
    bytes.extend(std::iter::repeat_n(0, padding));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_one_packet_of_whole_blocks_whatever_it_says() {
        for host in ["a.example", "ab.example", "abc.example", "abcd.example", "abcdefgh.example", "10.0.0.1"] {
            let to: Destination = format!("{host}:22").parse().unwrap();
            let bytes = farewell(&to);
            let packet = bytes.strip_prefix(IDENTIFICATION).unwrap();
            let (length, rest) = packet.split_first_chunk::<4>().unwrap();
            assert_eq!((packet.len() % BLOCK, u32::from_be_bytes(*length) as usize), (0, rest.len()));
            let padding = usize::from(rest[0]);
            assert!((LEAST_PADDING..LEAST_PADDING + BLOCK).contains(&padding), "{padding}");
            let payload = &rest[1..rest.len() - padding];
            let (head, told) = payload.split_at(9);
            assert_eq!(head[..5], [1, 0, 0, 0, 1]);
            let length = u32::from_be_bytes(head[5..].try_into().unwrap()) as usize;
            let (told, language) = told.split_at(length);
            // OpenSSH prints no more than 400 characters of it.
            assert!(String::from_utf8(told.to_vec()).unwrap().contains(host) && told.len() < 400, "{told:?}");
            assert_eq!(language, b"\0\0\0\x02en");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_holds_nothing_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let began = tokio::time::Instant::now();
        disconnect(ours, &"github.com:22".parse().unwrap()).await;
        assert_eq!(began.elapsed(), SSH_WAIT);
    }
}
