"""Inside the sandbox: sends the cases of `cases.jsonl`, byte for byte and field for field, and notes what came back."""
import concurrent.futures, functools, json, socket, ssl, time

import hpack

SILENCE = 0.6  # seconds without a byte, after which nothing more is coming
END = 30  # and for an end that has to come
PAUSE = 0.002  # between the parts of what is not written at once
PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload


def context(protocol):
    made = ssl.create_default_context()  # reads every root there is: once is enough
    made.set_alpn_protocols([protocol])
    return made


CONTEXTS = {protocol: context(protocol) for protocol in ('http/1.1', 'h2')}


address = functools.cache(socket.gethostbyname)  # asked too often, the name server lets questions wait


def connected(name, protocol):
    plain = name == 'plain.example.com'
    raw = socket.create_connection((address(name), 80 if plain else 443), timeout=20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = raw if plain else CONTEXTS[protocol].wrap_socket(raw, server_hostname=name)
    stream.settimeout(SILENCE)
    return stream


def send(stream, sent, cuts):
    """In one piece, or cut at these places, in thousandths of the whole."""
    places = [0, *sorted(len(sent) * cut // 1000 for cut in cuts), len(sent)]
    for begin, end in zip(places, places[1:]):
        if 0 < begin < end:
            time.sleep(PAUSE)
        stream.sendall(sent[begin:end])


def http1(case):
    answer, closed = b'', True
    with connected(case['to'], 'http/1.1') as stream:
        try:
            send(stream, bytes.fromhex(case['bytes']), case['cuts'])
            while piece := stream.recv(65536):
                answer += piece
                if answer.startswith(b'HTTP/1.1 400 '):
                    stream.settimeout(END)
        except TimeoutError:
            closed = False
        except OSError:
            pass
    return {'answer': answer.decode('latin-1'), 'closed': closed}


def encoded(steps):
    """A preface, settings, and the frames of a case; fields are compressed in the order they are sent in."""
    encoder = hpack.Encoder()
    yield PREFACE + frame(SETTINGS, 0, 0, b'')
    for step in steps:
        if 'raw' in step:
            yield bytes.fromhex(step['raw'])
        elif 'data' in step:
            yield frame(DATA, step['end'], step['stream'], step['data'].encode('latin-1'))
        else:
            fields = [(name.encode('latin-1'), value.encode('latin-1')) for name, value in step['fields']]
            block = encoder.encode(fields)
            cut = len(block) // 2 if step.get('split') else len(block)
            yield frame(HEADERS, step['end'] | (0 if step.get('split') else 4), step['stream'], block[:cut])
            if step.get('split'):
                yield bytes.fromhex(step['split']['between'])
                yield frame(CONTINUATION, 4, step['stream'], block[cut:])


def http2(case):
    seen, ended, closed, buffer = {}, set(), True, b''
    decoder = hpack.Decoder()
    with connected(case['to'], 'h2') as stream:
        try:
            if case['cuts']:
                send(stream, b''.join(encoded(case['steps'])), case['cuts'])
            else:
                for piece in encoded(case['steps']):
                    stream.sendall(piece)
            while not ended >= set(case['streams']):
                piece = stream.recv(65536)
                if not piece:
                    break
                buffer += piece
                while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], 'big'):
                    length, kind, flags = int.from_bytes(buffer[:3], 'big'), buffer[3], buffer[4]
                    number, payload = int.from_bytes(buffer[5:9], 'big'), buffer[9:9 + length]
                    buffer = buffer[9 + length:]
                    if kind == SETTINGS and not flags & 1:
                        stream.sendall(frame(SETTINGS, 1, 0, b''))
                    elif kind == PING and not flags & 1:
                        stream.sendall(frame(PING, 1, 0, payload))
                    elif kind == HEADERS:
                        status = dict(decoder.decode(payload)).get(':status')
                        seen.setdefault(str(number), []).append(int(status))
                    elif kind == RST_STREAM:
                        ended.add(number)
                    if kind in (DATA, HEADERS) and flags & 1:
                        ended.add(number)
        except TimeoutError:
            closed = False
        except OSError:
            pass
    return {'statuses': seen, 'closed': closed}


def tried(line):
    case = json.loads(line)
    return {'case': case['case'], **(http1 if case['protocol'] == 'h1' else http2)(case)}


with open('cases.jsonl') as cases, open('results.jsonl', 'w') as results:
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        for result in pool.map(tried, cases):
            results.write(json.dumps(result) + '\n')
