# What stands in exeat's place when its walls are taken away: a name server that knows everything, and servers that say yes to all.
#
# Run as root of a network namespace of its own: lenient.py CERTIFICATE RESOLV_CONF COMMAND… The command's exit code is its own.
import fcntl, os, socket, ssl, struct, subprocess, sys, threading

certificate, resolv_conf, *command = sys.argv[1:]
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes"


def bring_up():
    request = struct.pack("16sH14x", b"lo", 1 | 64)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, request)


def answer_to(query):
    end = query.index(0, 12) + 5
    kind = query[end - 4 : end - 2]
    value = bytes([127, 0, 0, 1])
    record = b"\xc0\x0c" + kind + query[end - 2 : end] + struct.pack(">IH", 60, len(value)) + value
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + record


def accepted(listener, serve):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=served, args=(stream, serve), daemon=True).start()


def served(stream, serve):
    stream.settimeout(5)
    try:
        serve(stream)
    except OSError:
        pass
    finally:
        stream.close()


def name_server(stream):
    length = struct.unpack(">H", stream.recv(2))[0]
    reply = answer_to(stream.recv(length))
    stream.sendall(struct.pack(">H", len(reply)) + reply)


def yes(stream):
    if stream.recv(65536):
        stream.sendall(YES)


def yes_over_tls(stream):
    with tls.wrap_socket(stream, server_side=True) as inner:
        yes(inner)


def yes_to_either(stream):
    hello = stream.recv(1, socket.MSG_PEEK)
    (yes_over_tls if hello == b"\x16" else yes)(stream)


def banner(stream):
    stream.sendall(b"welcome\r\n")


def listen(port, serve):
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=accepted, args=(listener, serve), daemon=True).start()


def datagrams(port, reply):
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", port))

    def serve():
        while True:
            text, peer = own.recvfrom(4096)
            own.sendto(reply(text), peer)

    threading.Thread(target=serve, daemon=True).start()


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate)
bring_up()
datagrams(53, answer_to)
datagrams(443, lambda text: text)
listen(53, name_server)
for port in (80, 443, 853):
    listen(port, yes_to_either)
for port in (22, 25, 31337):
    listen(port, banner)
subprocess.run(["mount", "--bind", resolv_conf, "/etc/resolv.conf"], check=True)
sys.exit(subprocess.run(command, stdin=sys.stdin).returncode)
