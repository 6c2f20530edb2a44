# What stands in exeat's place: a name server and servers that refuse as exeat does, but for the walls that are taken away.
#
# Run as root of a network namespace of its own: lenient.py WALLS CERTIFICATE RESOLV_CONF SEEN COMMAND… where WALLS are groups of attempts, with
# commas. What is said yes to is told by what it is (kinds.py), never by the mark that the battery put on it; both are written to SEEN. The
# command's exit code is its own.
import fcntl, json, os, socket, ssl, struct, subprocess, sys, threading

sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
import kinds
from messages import Frames, Head, h2_answer, h2_ended, h2_opened, settings

walls, certificate, resolv_conf, seen, *command = sys.argv[1:]
missing = walls.split(",")
WORD = "a-word-of-the-sabotage"
NO = b'{"type": "urn:exeat:refusal:stand-in"}'
addresses, heard = {}, []


def bring_up(name, address, mask):
    packed = lambda text: struct.pack("16sH2x4s8x", name, socket.AF_INET, socket.inet_aton(text))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        if name != b"lo":
            fcntl.ioctl(any_socket, 0x8916, packed(address))
            fcntl.ioctl(any_socket, 0x891C, packed(mask))
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", name, 1 | 64))


def given(name):
    return addresses.setdefault(name.rstrip(".").lower(), f"198.18.1.{len(addresses) + 1}")


def answer_to(query):
    end = query.index(0, 12) + 5
    kind = struct.unpack(">H", query[end - 4 : end - 2])[0]
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    lax = "dns" in missing
    answered = lax or kind in (1, 255)
    record = b""
    if answered:
        value = socket.inet_aton("127.0.0.1" if lax else given(".".join(labels)))
        kind = 1 if kind == 255 else kind
        record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(value)) + value
    return query[:2] + b"\x81\x80\0\1" + (b"\0\1" if answered else b"\0\0") + b"\0\0\0\0" + query[12:end] + record


def accepted(listener, serve):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=served, args=(stream, serve), daemon=True).start()


def served(stream, serve):
    stream.settimeout(5)
    try:
        serve(stream)
    except (OSError, ValueError, IndexError, struct.error):
        pass
    finally:
        stream.close()


def name_server(stream):
    length = struct.unpack(">H", stream.recv(2))[0]
    reply = answer_to(stream.recv(length))
    stream.sendall(struct.pack(">H", len(reply)) + reply)


def says_yes(kind, mark):
    with open(seen, "a") as file:
        file.write(f"{mark} {kind}\n")
    return kind.split("/")[0] in missing


def response(body, yes):
    status = b"200 OK" if yes else b"403 Forbidden"
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def message(head):
    return {"line": head.line, "fields": [], "body": head.body.hex(), "trailers": [], "whole": True}


def over_http1(stream, where):
    raw, patience = b"", 5
    while True:
        stream.settimeout(patience)
        try:
            piece = stream.recv(65536)
        except (TimeoutError, ssl.SSLError):
            break
        raw += piece
        if not piece:
            break
        head = Head.of(raw)
        if head and not head.may_go_on():
            break
        if head or not raw[:1].isalpha():
            patience = 0.12
    if not raw:
        return
    head = Head.of(raw) or Head(raw)
    if "canary=recall" in head.line:
        report = {"word": WORD, "requests": [], "rest": "", "unanswered": [message(one) for one in heard]}
        heard.clear()
        return stream.sendall(response(json.dumps(report, separators=(",", ":")).encode(), True))
    kind = kinds.of(head, where)
    if kind == "websocket" and "placeholders" in missing:
        return websocket(stream, head)
    yes = says_yes(kind, head.mark)
    if kind == "network/other-protocols" and yes:
        return stream.sendall(b"welcome\r\n")
    stream.sendall(response(answer_of(kind, head) if yes else NO, yes))


def answer_of(kind, head):
    said = {"placeholders/answer": f"probe-credential-{WORD}", "tools/list": json.dumps(head.one("x-probe-tools").split(","))}
    return said.get(kind, "yes").encode()


def websocket(stream, head):
    stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    stream.settimeout(0.3)
    raw = b""
    try:
        while piece := stream.recv(65536):
            raw += piece
    except (TimeoutError, ssl.SSLError):
        pass
    head.body, pieces = kinds.payload(raw)
    says_yes(kinds.of_socket(raw, pieces), head.mark)
    heard.append(head)
    stream.settimeout(5)
    stream.recv(1)


def over_http2(stream, where):
    frames = Frames()
    stream.sendall(settings())
    while piece := stream.recv(65536):
        for number, head in frames.push(piece):
            kind = kinds.of_stream(head, where)
            if kind == "placeholders/websocket-http2" and "placeholders" in missing:
                websocket_over_http2(stream, number, head, kind)
                continue
            yes = says_yes(kind, head.mark)
            stream.sendall(h2_answer(number, b"yes" if yes else NO, yes))


def websocket_over_http2(stream, number, head, kind):
    if not head.body:
        return stream.sendall(h2_opened(number))
    text, _ = kinds.payload(head.body)
    if len(text) < head.body[1] & 127:
        return
    head.body = text
    says_yes(kind, head.mark)
    heard.append(head)
    stream.sendall(h2_ended(number))


def where_of(stream, server_name=None, tls=False):
    own = stream.getsockname()
    names = [name for name, address in addresses.items() if address == own[0]]
    return kinds.Where(own[0], own[1], names[0] if names else None, server_name, tls)


def any_server(stream):
    hello = stream.recv(16, socket.MSG_PEEK)
    if hello[:1] != b"\x16":
        if hello[:4] == b"PRI ":
            return over_http2(stream, where_of(stream))
        return over_http1(stream, where_of(stream))
    if all(name in stream.recv(4096, socket.MSG_PEEK) for name in (b"api.example.com", kinds.UNLISTED.encode())):
        return stream.sendall(response(b"yes", True)) if says_yes("names/two-server-names", "") else None
    if hello[9:11] == b"\3\1":
        return stream.sendall(response(b"yes", True)) if says_yes("names/old-protocols", "") else None
    asked = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    tls.sni_callback = lambda _, name, __: asked.append(name)
    with tls.wrap_socket(stream, server_side=True) as inner:
        where = where_of(inner, asked[0] if asked else None, True)
        (over_http2 if inner.selected_alpn_protocol() == "h2" else over_http1)(inner, where)


def listen(port, serve):
    listener = socket.create_server(("0.0.0.0", port), backlog=64)
    threading.Thread(target=accepted, args=(listener, serve), daemon=True).start()


def datagrams(port, reply):
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("0.0.0.0", port))

    def serve():
        while True:
            text, peer = own.recvfrom(4096)
            own.sendto(reply(text), peer)

    threading.Thread(target=serve, daemon=True).start()


bring_up(b"lo", "", "")
bring_up(b"lo:1", "198.18.0.1", "255.254.0.0")
bring_up(b"lo:2", "203.0.113.1", "255.255.255.0")
datagrams(53, answer_to)
if "network" in missing:
    datagrams(443, lambda text: text)
    with open("/proc/sys/net/ipv4/ping_group_range", "w") as groups:
        groups.write("0 0")
listen(53, name_server)
for port in (22, 25, 80, 443, 444, 853, 5432, 31337):
    listen(port, any_server)
subprocess.run(["mount", "--bind", resolv_conf, "/etc/resolv.conf"], check=True)
sys.exit(subprocess.run(command, stdin=sys.stdin).returncode)
