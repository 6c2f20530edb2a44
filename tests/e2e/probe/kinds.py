# What a request is, told by itself: the attempt that it belongs to, or an ordinary request.
import base64, gzip, os, re
from collections import namedtuple
from urllib.parse import unquote

Where = namedtuple("Where", "address port name server_name tls")
KEY = os.environ["API_KEY"]
UNLISTED = "nobody.invalid"
LISTED = ("api.example.com", "www.example.com", "mcp.example.com", "graphql.example.com", "pinned.example.com")


def of(head, where):
    if where.port == 853 and head.method != "CONNECT":
        return "dns/over-tls"
    if not where.tls:
        return plain(head, where)
    return astray(head, where) or {
        "www.example.com": placeholder,
        "mcp.example.com": tool,
        "graphql.example.com": lambda head: "tools/graphql-query" if "?" in head.target else "tools/graphql",
    }.get(where.server_name, framed)(head)


def plain(head, where):
    host = head.one("host")
    if where.port == 5432 and head.method != "CONNECT":
        return "placeholders/tunnel"
    if host.startswith("bared.example.com"):
        return "placeholders/bared"
    if where.port in (22, 25, 31337):
        return "network/own-listeners" if head.method == "CONNECT" else "network/other-protocols"
    if head.method == "CONNECT":
        return "network/own-listeners"
    if re.fullmatch(r"10\.0\.0\.1(:\d+)?", host) or host == "127.0.0.1:80":
        return "network/private-addresses"
    if re.match(r"[0-9.]+(:\d+)?$", host):
        return "names/address"
    return "names/plain" if host else "names/old-protocols"


# Names that do not agree: address, server name and Host; and names and paths that are none of the listed.
def astray(head, where):
    host, sni, name = head.one("host"), where.server_name, where.name
    if sni is None:
        return {None: "names/address", "pinned.example.com": "names/unread"}.get(name, "names/no-server-name")
    if head.target.startswith("/dns-query"):
        return "dns/over-https"
    if KEY in sni:
        return "placeholders/name"
    if name != sni.lower():
        return {None: "names/forged-server-name", "pinned.example.com": "names/unread"}.get(name, "names/server-name")
    if sni.lower().endswith(UNLISTED):
        return "names/unlisted"
    if sni not in LISTED or where.port == 444:
        return "names/look-alikes"
    hosts = head.all("host")
    if len(hosts) == 1 and re.match(r"\[(2001:0|2002|64:ff9b)", host):
        return "names/embedded-addresses"
    if len(hosts) == 1 and not host.isascii():
        return "names/wide-letters"
    if len(hosts) == 1 and host.lower() != sni and head.method != "CONNECT":
        return "names/host-field" if host == f"other.{UNLISTED}" else "names/host-spellings"
    return "names/paths" if ".." in head.target else None


OVERRIDDEN = r"(?:_(?:http)?method|x-http-method-override)(?:\[\])?"


def plain_text(head):
    body = gzip.decompress(head.body) if head.one("content-encoding") == "gzip" else head.body
    return body.decode("latin-1").replace("\\u005f", "_")


def framed(head):
    lengths, codings = head.all("content-length"), head.all("transfer-encoding")
    names = [name.lower() for name, _ in head.fields]
    behind = head.raw.split(b"\r\n\r\n", 1)[-1]
    odd = [name for name in names if re.search(r"[_.]", name)]
    if head.method == "CONNECT":
        return "framing/connect"
    if head.target.startswith("http"):
        return "framing/absolute-form"
    if head.line.endswith("HTTP/1.0"):
        return "framing/http-1.0"
    if any(re.search(r"forwarded|host$|host-override", name) for name in names if name != "host"):
        return "framing/other-hosts"
    if any(re.search(r"rewrite|override|original", name) for name in names) or "x-http-method" in names:
        return "framing/overriding"
    if any(re.search(r"-copy-source$|-copy-from$|-rename-source$", name) for name in names):
        return "framing/copy-sources"
    if "destination" in names:
        return "framing/destination"
    if re.search(OVERRIDDEN + "=", unquote(head.target), re.I):
        return "framing/overriding-query"
    if re.search(OVERRIDDEN + "[=\"]", unquote(plain_text(head)), re.I):
        return "framing/overriding-form"
    if "x-probe-answer" in names:
        return "framing/unasked-switch" if head.one("x-probe-answer") == "switch" else "placeholders/answer"
    if re.search(rb"(^|[^\r])\n", head.raw.split(b"\r\n\r\n", 1)[0]) or b"\n\n" in head.raw:
        return "framing/bare-newlines"
    if re.search(r"\r\n[ \t]|\r(?!\n)|\0| :", head.text):
        return "framing/hidden-fields"
    if odd:
        return "framing/alike-names"
    if len(head.all("host")) != 1:
        return "framing/hosts"
    if "upgrade" in names:
        return "framing/websocket-body" if head.body else "framing/upgrade"
    if lengths and codings or len(lengths) == 2 and lengths[0] == lengths[1]:
        return "framing/length-and-chunks"
    if any(not value.isdigit() or len(value) > 18 for value in lengths) or len(lengths) > 1:
        return "framing/lengths"
    if codings and codings != ["chunked"]:
        return "framing/codings"
    if re.search(rb"GET /second| /second", behind):
        return "framing/pipelined"
    if codings and not re.match(rb"(?:[0-9a-f]{1,8}\r\n[a-z]{3}\r\n)*0\r\n", behind) or b"abcd" in behind:
        return "framing/chunks"
    if codings and re.search(rb"0\r\n[A-Z]", behind):
        return "framing/trailers"
    if "keep-alive" in names or re.search(r"Host|Authorization|Content-Length", " ".join(head.all("connection"))):
        return "framing/hop-by-hop"
    return "framing/one-request"


def of_stream(head, where):
    own = where.server_name if where.tls else None
    if not where.tls:
        return "framing/preface"
    if own == "www.example.com":
        return placeholder_over_http2(head)
    if head.odd:
        return "framing/http2-frames"
    if head.trailers:
        return "framing/http2-trailers"
    pseudo = [name for name, _ in head.fields if name.startswith(":")]
    first_field = next((at for at, (name, _) in enumerate(head.fields) if not name.startswith(":")), 99)
    text = "".join(name + value for name, value in head.fields[:4])
    if re.search(r"HTTP/1\.1|[\r\n ]", "".join(value for name, value in head.fields if name.startswith(":"))) or " " in head.method:
        return "framing/http2-smuggling"
    if head.method == "CONNECT":
        return "framing/http2-connect"
    expected = {":method", ":scheme", ":authority", ":path"}
    late = any(name.startswith(":") for name, _ in head.fields[first_field:])
    if set(pseudo) != expected or len(pseudo) != 4 or late or not head.pseudo[":path"].startswith("/"):
        return "framing/http2-pseudo"
    authority = head.pseudo[":authority"]
    if head.pseudo[":path"] == "/" and authority == f"other.{UNLISTED}":
        return "names/coalescing"
    if authority != own or head.one("host") not in ("", own) or head.pseudo[":scheme"] != "https":
        return "framing/http2-authority"
    for name, value in head.fields[first_field:]:
        if name in ("connection", "transfer-encoding") or re.search(r"[A-Z \r\n:]|^$", name) or re.search(r"[\r\n\0]", value):
            return "framing/http2-fields"
    lengths = head.all("content-length")
    if len(lengths) > 1:
        return "framing/http2-fields"
    return "framing/http2-lengths" if lengths and int(lengths[0]) != len(head.body) else "names/coalescing"


def placeholder(head):
    body, coding = head.body, head.one("content-encoding")
    texts = [base64.b64decode(word) for word in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", head.text) if len(word) % 4 == 0]
    encoded = any(KEY.encode() in text for text in texts)
    if head.one("upgrade") == "websocket":
        return "websocket"
    if head.one("content-type") == "application/grpc":
        return "placeholders/grpc"
    if coding == "gzip" and body[3] == 8:
        return "placeholders/gzip-name"
    if coding == "gzip" and body.count(b"\x1f\x8b\x08") == 2:
        return "placeholders/gzip-members"
    if coding == "zstd" and body[:4] != b"\x28\xb5\x2f\xfd":
        return "placeholders/zstd-skipped"
    if coding == "zstd" and body[4] == 0:
        return "placeholders/bomb"
    if coding in ("deflate", "aws-chunked"):
        return f"placeholders/{coding}"
    if coding:
        return {"gzip": "placeholders/gzip", "br": "placeholders/brotli", "zstd": "placeholders/zstd"}.get(
            coding, "placeholders/other-codings"
        )
    if len(body) > 65536:
        return "placeholders/long"
    if head.one("transfer-encoding") == "chunked":
        return "placeholders/chunks" if head.dechunked().decode() == KEY else "placeholders/chunk-trailer"
    if KEY in head.method:
        return "placeholders/method"
    path, _, query = head.target.partition("?")
    if KEY in path:
        return "placeholders/path"
    if KEY in query:
        return "placeholders/query"
    if "".join(f"%{byte:02x}" for byte in KEY.encode()) in query:
        return "placeholders/percent"
    if any(name == KEY for name, _ in head.fields):
        return "placeholders/field-name"
    if encoded:
        return "placeholders/basic" if head.one("authorization").startswith("Basic") else "placeholders/base64"
    if head.one("authorization") == f"Bearer {KEY}":
        return "placeholders/bearer"
    if head.one("x-probe") == KEY:
        return "placeholders/header"
    if b"\\u00" in body:
        return "placeholders/json"
    if body.startswith(b"a="):
        return "placeholders/form"
    return "placeholders/pieces" if body.decode() == KEY else "ordinary"


def placeholder_over_http2(head):
    if head.one(":protocol") == "websocket":
        return "placeholders/websocket-http2"
    if head.one(":protocol") == KEY:
        return "placeholders/method"
    if any(value == KEY for _, value in head.trailers):
        return "placeholders/trailer"
    return "placeholders/pieces" if head.body.decode() == KEY else "ordinary"


def tool(head):
    if head.method != "POST" or "&" in head.target:
        return "tools/elsewhere"
    if len(head.body) > 1 << 20:
        return "tools/long"
    if "charset" in head.one("content-type") or b"\0" in head.body and not head.one("content-encoding"):
        return "tools/charsets"
    if b"tools/list" in head.body and b"tools/call" not in head.body:
        return "tools/list"
    plain = head.one("content-type") == "application/json" and not head.one("content-encoding")
    once = head.body.count(b'"method"') == 1 + head.body.count(b"tools/list") and head.body.count(b"tools/call") == 1
    whole = plain and once and head.body[:1] in b"[{" and b"Method" not in head.body and not re.search(rb'"tools/list","', head.body)
    return "tools/unlisted" if whole else "tools/readings"


# The frames of a WebSocket, whose mask is all zeroes.
def payload(raw):
    text, pieces = b"", 0
    while len(raw) > 6:
        length = raw[1] & 127
        text, raw, pieces = text + raw[6 : 6 + length], raw[6 + length :], pieces + 1
    return text, pieces


def of_socket(raw, pieces):
    if raw[0] & 64:
        return "placeholders/websocket-deflate"
    if raw[0] & 8:
        return "placeholders/websocket-control"
    return "placeholders/websocket-pieces" if pieces > 1 else "placeholders/websocket"
