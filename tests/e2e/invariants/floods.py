"""Inside the sandbox: floods, one after the other, and then a polite call."""
import concurrent.futures, http.client, json, select, socket, ssl, struct, sys, time

import hpack

NAMES = 10000  # ten times as many as leaves are kept of
ADDRESS = socket.gethostbyname('api.example.com')
told = {}
context = ssl.create_default_context()
context_2 = ssl.create_default_context()
context_2.set_alpn_protocols(['h2'])


def connected(context, name='api.example.com', address=ADDRESS):
    return context.wrap_socket(socket.create_connection((address, 443), 20), server_hostname=name)


def said(stream):
    """What came until the other side ended, or said nothing for a while."""
    answer = b''
    stream.settimeout(5)
    try:
        while piece := stream.recv(65536):
            answer += piece
            stream.settimeout(0.3)
    except OSError:
        pass
    return answer


def http1(fields):
    """The status that a head of so many fields of 8,000 bytes gets."""
    stream = connected(context)
    try:
        stream.sendall(b'GET /echo HTTP/1.1\r\nHost: api.example.com\r\n')
        for field in range(fields):
            stream.sendall(b'X-%d: ' % field + b'x' * 8000 + b'\r\n')
            if select.select([stream], [], [], 0)[0]:
                break
        else:
            stream.sendall(b'\r\n')
    except OSError:
        pass
    return int(said(stream)[9:12] or 0)


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload


def http2(fields):
    """The same over HTTP/2, in a head of many frames; minus GOAWAY's code where there is no status."""
    stream = connected(context_2)
    encoder = hpack.Encoder()
    head = [(':method', 'GET'), (':scheme', 'https'), (':authority', 'api.example.com'), (':path', '/echo')]
    block = encoder.encode(head) + b''.join(
        encoder.encode([hpack.NeverIndexedHeaderTuple(f'x-{field}', '~' * 8000)], huffman=False) for field in range(fields))
    pieces = [block[at:at + 16384] for at in range(0, len(block), 16384)]
    frames = [frame(9 if at else 1, (0 if at else 1) | (4 if at + 1 == len(pieces) else 0), 1, piece) for at, piece in enumerate(pieces)]
    try:
        stream.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, b'') + b''.join(frames))
    except OSError:
        pass
    answer, decoder, gone = said(stream), hpack.Decoder(), 0
    while len(answer) >= 9:
        length, kind = int.from_bytes(answer[:3], 'big'), answer[3]
        payload, answer = answer[9:9 + length], answer[9 + length:]
        if kind == 1:
            return int(dict(decoder.decode(payload))[':status'])
        if kind == 7:
            gone = -int.from_bytes(payload[4:8], 'big')
    return gone


# Connections that say nothing, half a greeting, half a head; in the backlog, those that find no place.
held = []
for number in range(1500):
    stream = socket.socket()
    stream.settimeout(5)
    stream.connect((ADDRESS, 443))
    stream.send((b'', b'\x16\x03\x01\x40\x00\x01', b'GET / HTTP/1.1\r\nX: ')[number % 3])
    held.append(stream)
told['held'] = len(held)
for stream in held:
    stream.close()

# Names: more than there are addresses to keep.
asking, answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
asking.settimeout(0.2)
for number in range(60000):
    name = b'\x09' + b'n%08d' % number + b'\x07example\x03com\x00'
    asking.sendto(struct.pack('>HHHHHH', number & 65535, 0x100, 1, 0, 0, 0) + name + b'\0\1\0\1', ('198.18.0.1', 53))
    try:
        answers += bool(asking.recv(512))
    except TimeoutError:
        pass
told['asked'] = answers

# Heads without an end; and such as just have one.
told['head'] = [http1(300) for _ in range(40)]
told['head_2'] = [http2(12) for _ in range(10)]
told['just_so'] = [http1(7), http2(7)]


# A leaf for each of many names in a row.
def greeted(number):
    name = f'l{number}.example.com'
    try:
        connected(context, name, ADDRESS).close()
    except OSError as error:
        return str(error)
    return True


begun = time.monotonic()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    greetings = list(pool.map(greeted, range(NAMES)))
told['names'], told['handshakes'], told['seconds'] = NAMES, greetings.count(True), time.monotonic() - begun
told['others'] = sorted({str(greeting) for greeting in greetings})[:3]

connection = http.client.HTTPSConnection('api.example.com', timeout=20)
connection.request('GET', '/echo')
told['polite'] = connection.getresponse().status
print(json.dumps(told), flush=True)
print('flooded', flush=True)
sys.stdin.readline()
