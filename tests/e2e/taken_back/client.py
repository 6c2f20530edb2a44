"""Inside the sandbox: one of each kind of what stands open, at a host that is called as the kind is.

`KIND open` is printed once it has begun, `KIND over` once its client sees that it has ended. With each line on standard input, connections
that stand all the while are asked for one thing more, and the status is printed.
"""
import os, signal, socket, ssl, sys, threading, time

import grpc, h2.config, h2.connection, h2.events, h2.exceptions, hyperframe.frame
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

BEARER, KEY = 'Bearer ' + os.environ['API_KEY'], os.environ['SOCKET_KEY']
PAUSE = 0.1
# Who is told to end has some seconds for it, and is not to end what stands open itself.
signal.signal(signal.SIGTERM, signal.SIG_IGN)


def say(*words):
    sys.stdout.write(' '.join(words) + '\n')
    sys.stdout.flush()


def host(kind):
    return f'{kind}.example.com'


def secured(kind, protocol, roots=None):
    context = ssl.create_default_context(cafile=roots)
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(socket.create_connection((host(kind), 443)), server_hostname=host(kind))


def ask(stream, kind, line, *fields):
    stream.sendall('\r\n'.join([line + ' HTTP/1.1', 'Host: ' + host(kind), *fields, '', '']).encode())


def until(stream, text):
    seen = b''
    while text not in seen:
        piece = stream.recv(4096)
        if not piece:
            raise EOFError
        seen += piece
    return seen


def rest(stream):
    while stream.recv(65536):
        pass


class Two:
    """A client of HTTP/2 with one stream."""

    def __init__(self, kind):
        self.kind, self.ended = kind, False
        self.socket = secured(kind, 'h2')
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding='utf-8'))
        # What is under way goes on when no more is taken up; the library would have it end.
        self.http._frame_dispatch_table[hyperframe.frame.GoAwayFrame] = lambda frame: ([], [])
        self.http.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def ask(self, method, path, *fields, end=True):
        self.stream = self.http.get_next_available_stream_id()
        head = [(':method', method), (':scheme', 'https'), (':authority', host(self.kind)), (':path', path)]
        self.http.send_headers(self.stream, [*head, *fields, ('authorization', BEARER)], end_stream=end)
        self.flush()

    def events(self, taking=True):
        """What comes next: nothing where none does in the time that the socket has."""
        try:
            piece = self.socket.recv(65536)
        except TimeoutError:
            return []
        if not piece:
            raise EOFError
        events = self.http.receive_data(piece)
        for event in events:
            if isinstance(event, h2.events.DataReceived) and taking and event.flow_controlled_length:
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.ended |= isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
        self.flush()
        return events

    def until(self, kind, taking=True):
        while True:
            for event in self.events(taking):
                if isinstance(event, kind):
                    return event
            if self.ended:
                raise EOFError

    def rest(self):
        while not self.ended:
            self.events()

    def send(self, piece):
        self.http.send_data(self.stream, piece)
        self.flush()


EVENTS = '/sse?n=600&ms=100'
LARGE = '/big?bytes=1000000000'


def download_h1(kind, opened, *fields, stream=None):
    stream = stream or secured(kind, 'http/1.1')
    ask(stream, kind, 'GET ' + EVENTS, *fields)
    until(stream, b'data:')
    opened()
    rest(stream)


def carried_h1(kind, opened):
    download_h1(kind, opened, 'Authorization: ' + BEARER)


def plain(kind, opened):
    download_h1(kind, opened, stream=socket.create_connection((host(kind), 80)))


def passthrough(kind, opened):
    download_h1(kind, opened, stream=secured(kind, 'http/1.1', 'ca.pem'))


def tcp(kind, opened):
    stream = socket.create_connection((host(kind), 25))
    until(stream, b'220')
    opened()
    rest(stream)


def download_h2(kind, opened):
    two = Two(kind)
    two.ask('GET', EVENTS)
    two.until(h2.events.DataReceived)
    opened()
    two.rest()


def upload_h1(kind, opened, path='/upload', piece=b'hello', pause=PAUSE):
    stream = secured(kind, 'http/1.1')
    ask(stream, kind, 'POST ' + path, 'Authorization: ' + BEARER, 'Transfer-Encoding: chunked')
    for number in range(600):
        if number == 2:
            opened()
        stream.sendall(b'%x\r\n%s\r\n' % (len(piece), piece))
        time.sleep(pause)


def stuck(kind, opened):
    """Its upstream does not read."""
    threading.Timer(0.5, opened).start()
    upload_h1(kind, lambda: None, '/deaf?ms=60000', b'x' * 65536, 0)


def upload_h2(kind, opened):
    two = Two(kind)
    two.ask('POST', '/upload', end=False)
    two.socket.settimeout(PAUSE)
    number = 0
    while not two.ended:
        number += 1
        if number == 3:
            opened()
        two.send(b'hello')
        two.events()


def waiting(kind, opened):
    stream = secured(kind, 'http/1.1')
    ask(stream, kind, 'GET /deaf?ms=60000', 'Authorization: ' + BEARER, 'Connection: close')
    opened()
    rest(stream)


def unread_h1(kind, opened):
    stream = secured(kind, 'http/1.1')
    ask(stream, kind, 'GET ' + LARGE, 'Authorization: ' + BEARER)
    until(stream, b'\r\n\r\n')
    opened()
    time.sleep(600)


def unread_h2(kind, opened):
    two = Two(kind)
    two.ask('GET', LARGE)
    two.until(h2.events.DataReceived, taking=False)
    opened()
    # The socket is read on, and the stream alone takes no more.
    while True:
        two.events(taking=False)


def socket_h1(kind, opened, path='/ws', text='still there'):
    fields = {} if path == '/ws/reversed' else {'Authorization': BEARER}
    with connect(f'wss://{host(kind)}{path}', proxy=None, additional_headers=fields) as talk:
        for number in range(600):
            if number == 2:
                opened()
            talk.send(text)
            talk.recv()
            time.sleep(PAUSE)


def messages(kind, opened):
    socket_h1(kind, opened, '/ws/reversed', 'login ' + KEY)


def socket_h2(kind, opened):
    two = Two(kind)
    two.until(h2.events.RemoteSettingsChanged)
    two.ask('CONNECT', '/ws', (':protocol', 'websocket'), ('sec-websocket-version', '13'), end=False)
    two.until(h2.events.ResponseReceived)
    for number in range(600):
        if number == 2:
            opened()
        two.send(bytes([0x81, 0x85, 0, 0, 0, 0]) + b'hello')
        two.until(h2.events.DataReceived)
        time.sleep(PAUSE)


def talk(kind, opened):
    def said():
        for number in range(600):
            yield b'%d' % number
            time.sleep(PAUSE)
    channel = grpc.secure_channel(host(kind) + ':443', grpc.ssl_channel_credentials())
    answers = channel.stream_stream('/test.Echo/Talk')(said(), metadata=(('authorization', BEARER),))
    next(answers)
    opened()
    for _ in answers:
        pass


def next_h1(kind, opened):
    stream = secured(kind, 'http/1.1')
    while True:
        ask(stream, kind, 'GET /status/200', 'Authorization: ' + BEARER)
        head = until(stream, b'\r\n\r\n')
        length = int(head.lower().split(b'content-length: ')[1].split(b'\r\n')[0])
        missing = length - len(head.split(b'\r\n\r\n', 1)[1])
        while missing > 0:
            missing -= len(stream.recv(missing))
        yield head.split()[1].decode()


def next_h2(kind, opened):
    two = Two(kind)
    while True:
        two.ended = False
        two.ask('GET', '/status/200')
        yield two.until(h2.events.ResponseReceived).headers[0][1]
        two.rest()


KINDS = {
    'download-h1': carried_h1, 'download-h2': download_h2, 'proxied': carried_h1, 'upload-h1': upload_h1, 'upload-h2': upload_h2,
    'stuck': stuck, 'waiting': waiting, 'unread-h1': unread_h1, 'unread-h2': unread_h2, 'socket-h1': socket_h1, 'messages': messages,
    'socket-h2': socket_h2, 'bridged': socket_h2, 'talk': talk, 'bare': download_h1, 'plain': plain, 'passthrough': passthrough, 'tcp': tcp,
}


def standing(kind, stand):
    try:
        stand(kind, lambda: say(kind, 'open'))
    except (OSError, EOFError, ConnectionClosed, grpc.RpcError, h2.exceptions.ProtocolError):
        pass
    say(kind, 'over')


for kind, stand in KINDS.items():
    threading.Thread(target=standing, args=(kind, stand), daemon=True).start()
asking = [(kind, ask_again(kind, None)) for kind, ask_again in (('next-h1', next_h1), ('next-h2', next_h2))]
for kind, statuses in asking:
    assert next(statuses) == '200'
    say(kind, 'open')
for _ in sys.stdin:
    for kind, statuses in asking:
        say(kind, next(statuses))
# What is left of the threads is not waited for.
os._exit(0)
