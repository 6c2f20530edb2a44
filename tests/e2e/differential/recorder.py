"""An HTTP/2 server that shares no line of code with exeat's (the `h2` package, whose rules are RFC 9113's), and records.

Each request becomes a line of `requests.jsonl` before it is answered; what breaks a rule becomes a line with `error`.
"""
import hashlib, json, os, socket, ssl, sys, threading

import h2.config, h2.connection, h2.events, h2.exceptions

directory = sys.argv[1]
record = open(os.path.join(directory, 'requests.jsonl'), 'w')
lock = threading.Lock()


def write(line):
    with lock:
        record.write(json.dumps(line) + '\n')
        record.flush()


def text(fields):
    return [[name.decode('latin-1'), value.decode('latin-1')] for name, value in fields]


def serve(stream):
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding=False, validate_inbound_headers=True))
    connection.initiate_connection()
    stream.sendall(connection.data_to_send())
    open_streams = {}
    while piece := stream.recv(65536):
        try:
            events = connection.receive_data(piece)
        except h2.exceptions.ProtocolError as error:
            write({'error': repr(error)})
            return
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                open_streams[event.stream_id] = {'fields': text(event.headers), 'trailers': [], 'body': b''}
            elif isinstance(event, h2.events.DataReceived):
                open_streams[event.stream_id]['body'] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                open_streams[event.stream_id]['trailers'] = text(event.headers)
            elif isinstance(event, h2.events.StreamReset):
                broken = open_streams.pop(event.stream_id, None)
                # hyper-h2 reports what it resets itself as well: a rule was broken.
                if not event.remote_reset:
                    write({'error': f'reset for {event.error_code!r}: {broken}'[:500]})
                elif broken:
                    write({'cut': True, **broken, 'body': broken['body'].decode('latin-1')})
            elif isinstance(event, h2.events.StreamEnded):
                request = open_streams.pop(event.stream_id)
                write({**request, 'body': request['body'].decode('latin-1')})
                connection.send_headers(event.stream_id, [(b':status', b'200'), (b'content-length', b'0')], end_stream=True)
        stream.sendall(connection.data_to_send())


def guarded(raw):
    try:
        with context.wrap_socket(raw, server_side=True) as stream:
            if stream.selected_alpn_protocol() == 'h2':
                serve(stream)
    except OSError:
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(directory, 'cert.pem'), os.path.join(directory, 'key.pem'))
context.set_alpn_protocols(['h2'])
listener = socket.create_server(('127.0.0.1', 0), backlog=128)
with open(os.path.join(directory, 'port.new'), 'w') as port:
    port.write(str(listener.getsockname()[1]))
os.rename(os.path.join(directory, 'port.new'), os.path.join(directory, 'port'))
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
