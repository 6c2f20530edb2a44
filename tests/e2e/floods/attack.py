"""Inside the sandbox: HTTP/2 by hand, and beside it a polite client whose calls all have to be answered."""
import http.client, json, os, select, socket, ssl, sys, threading, time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
NAME = 'api.example.com'
context = ssl.create_default_context()
context.set_alpn_protocols(['h2'])
polite_context = ssl.create_default_context()


def frame(kind, flags, stream, payload=b''):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload


class Connection:
    """`statuses` and `resets` by stream; `gone` is the code of the GOAWAY; `ended` turns true with the connection."""

    def __init__(self, settings=b'', name=NAME):
        self.name, raw = name, socket.create_connection((name, 443), timeout=20)
        self.stream = context.wrap_socket(raw, server_hostname=name)
        assert self.stream.selected_alpn_protocol() == 'h2'
        self.stream.setblocking(False)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        # OpenSSL takes one call at a time, and what was begun to be sent is sent to its end before anything else.
        self.lock, self.sending, self.replies = threading.Lock(), threading.Lock(), b''
        self.statuses, self.resets, self.bytes, self.done = {}, {}, {}, set()
        self.gone, self.ended, self.buffer = None, False, b''
        self.first_window, self.windows = None, {0: 65535}
        self.greeting = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(SETTINGS, 0, 0, settings)

    def greet(self):
        self.send(self.greeting)
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def send(self, data):
        """All of it, or false: the other side may have ended the connection already."""
        with self.sending:
            return self.push(data)

    def push(self, data):
        data, self.replies = self.replies + data, b''
        while data:
            try:
                with self.lock:
                    data = data[self.stream.send(data):]
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([], [self.stream], [], 0.01)
            except OSError:
                return False
            if self.ended:
                return False
        return True

    def reply(self, data):
        self.replies += data
        if self.sending.acquire(blocking=False):
            self.push(b'')
            self.sending.release()

    def request(self, stream, path='/echo', method='GET', fields=(), end=True):
        fields = [(':method', method), (':scheme', 'https'), (':authority', self.name), (':path', path), *fields]
        return frame(HEADERS, 5 if end else 4, stream, self.encoder.encode(fields))

    def listen(self):
        while not self.ended:
            try:
                with self.lock:
                    piece = self.stream.recv(65536)
                self.ended = not piece
                self.buffer += piece
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([self.stream], [], [], 0.01)
                continue
            except OSError:
                self.ended = True
            at = 0
            while len(self.buffer) >= at + 9:
                length = int.from_bytes(self.buffer[at:at + 3], 'big')
                if len(self.buffer) < at + 9 + length:
                    break
                head, payload = self.buffer[at:at + 9], self.buffer[at + 9:at + 9 + length]
                at += 9 + length
                self.take(head[3], head[4], int.from_bytes(head[5:], 'big'), payload)
            self.buffer = self.buffer[at:]

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & 1:
            settings = {payload[at + 1]: int.from_bytes(payload[at + 2:at + 6], 'big') for at in range(0, len(payload), 6)}
            self.first_window = settings.get(4, 65535)
            self.reply(frame(SETTINGS, 1, 0))
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, self.first_window) + int.from_bytes(payload, 'big')
        elif kind == PING and not flags & 1:
            self.reply(frame(PING, 1, 0, payload))
        elif kind == HEADERS:
            self.statuses[stream] = int(dict(self.decoder.decode(payload)).get(':status', 0))
        elif kind == DATA:
            self.bytes[stream] = self.bytes.get(stream, 0) + len(payload)
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, 'big')
        elif kind == GOAWAY:
            self.gone = int.from_bytes(payload[4:8], 'big')
        if kind in (DATA, HEADERS) and flags & 1:
            self.done.add(stream)

    def pump(self, streams, most=1 << 40):
        """Sends as much on these streams as their windows and the connection's let it; how much that was."""
        sent, moved = 0, time.monotonic()
        while sent < most and time.monotonic() < moved + 1:
            for stream in streams:
                room = min(16384, most - sent, self.windows[0], self.windows.setdefault(stream, self.first_window))
                if room > 0 and self.send(frame(DATA, 0, stream, b'x' * room)):
                    self.windows[0] -= room
                    self.windows[stream] -= room
                    sent, moved = sent + room, time.monotonic()
            time.sleep(0.001)
        return sent

    def overwhelm(self, frames):
        """Sends them over and over, and leaves the other thread time to listen, until the connection ends."""
        end = time.monotonic() + 20
        while not self.ended and time.monotonic() < end and self.send(frames * 100):
            time.sleep(0.001)
        self.wait(lambda: self.ended)

    def wait(self, holds, limit=20):
        end = time.monotonic() + limit
        while not holds() and time.monotonic() < end:
            time.sleep(0.01)
        return holds()


polite, over = [], threading.Event()


def be_polite():
    while not over.is_set():
        begun = time.monotonic()
        connection = http.client.HTTPSConnection(NAME, timeout=20, context=polite_context)
        connection.request('GET', '/echo/polite')
        answer = connection.getresponse()
        answer.read()
        polite.append((answer.status, time.monotonic() - begun))
        time.sleep(0.05)


def attacked(attack):
    """Runs it beside the polite client, which has to get through before, while and after."""
    beside = threading.Thread(target=be_polite)
    beside.start()
    while not polite:
        time.sleep(0.01)
    told = attack()
    before = len(polite)
    end = time.monotonic() + 20
    while len(polite) < before + 3 and time.monotonic() < end:
        time.sleep(0.01)
    over.set()
    beside.join()
    print(json.dumps({'told': told, 'polite': [status for status, _ in polite], 'slowest': max(took for _, took in polite)}), flush=True)
    sys.stdin.readline()  # until the worker's memory was looked at
    os._exit(0)  # not by way of OpenSSL's own end, which frees what threads still read with
