"""A gRPC server with grpcio, unmodified: methods over bytes, so that nothing has to be generated."""
import os, sys, threading
from concurrent import futures

import grpc

directory = sys.argv[1]
noted, lock = open(os.path.join(directory, 'noted'), 'w'), threading.Lock()


def note(text):
    with lock:
        noted.write(text + '\n')
        noted.flush()


def shown(context):
    return dict(context.invocation_metadata()).get('authorization', 'nothing')


def unary(request, context):
    note(f'unary {shown(context)}')
    context.send_initial_metadata((('x-first', 'one'),))
    context.set_trailing_metadata((('x-last', 'two'), ('x-last-bin', b'\0\xff')))
    return request[::-1]


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, 'no such thing: 100% of é')


def many(request, context):
    for number in range(int(request)):
        yield b'%d' % number


def count(requests, context):
    return b'%d' % sum(len(request) for request in requests)


def talk(requests, context):
    for request in requests:
        yield request


def hang(request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    left = context.time_remaining()
    note('hanging ' + ('without end' if left is None or left > 1e6 else 'for a while'))
    ended.wait(30)
    note('cancelled' if not context.is_active() else 'still wanted')
    return b''


def leak(request, context):
    secret = shown(context).removeprefix('Bearer ')
    context.send_initial_metadata((('x-shown', secret),))
    context.set_trailing_metadata((('x-shown', secret), ('x-shown-bin', secret.encode())))
    return secret.encode() if request == b'in the message' else b'in the metadata'


# The last byte is the first of the credential: of what may be its beginning nothing may be held back between messages.
def tease(requests, context):
    secret = shown(context).removeprefix('Bearer ').encode()
    for request in requests:
        yield b'you said ' + request + secret[:6]


def squeezed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return b'x' * 4096


class Methods(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            '/test.Echo/Unary': grpc.unary_unary_rpc_method_handler(unary),
            '/test.Echo/Fail': grpc.unary_unary_rpc_method_handler(fail),
            '/test.Echo/Many': grpc.unary_stream_rpc_method_handler(many),
            '/test.Echo/Count': grpc.stream_unary_rpc_method_handler(count),
            '/test.Echo/Talk': grpc.stream_stream_rpc_method_handler(talk),
            '/test.Echo/Hang': grpc.unary_unary_rpc_method_handler(hang),
            '/test.Echo/Leak': grpc.unary_unary_rpc_method_handler(leak),
            '/test.Echo/Tease': grpc.stream_stream_rpc_method_handler(tease),
            '/test.Echo/Squeezed': grpc.unary_unary_rpc_method_handler(squeezed),
        }.get(details.method)


def read(name):
    with open(os.path.join(directory, name), 'rb') as file:
        return file.read()


server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[Methods()])
port = server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials([(read('key.pem'), read('cert.pem'))]))
server.start()
with open(os.path.join(directory, 'port.new'), 'w') as file:
    file.write(str(port))
os.rename(os.path.join(directory, 'port.new'), os.path.join(directory, 'port'))
server.wait_for_termination()
