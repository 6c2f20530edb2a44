"""A house: its name server, which knows one name, by another address each time it is asked, and a listener at either address.

What is asked and who is dialled becomes a line of the file that is the first argument, for as long as whoever started this lives.
"""
import os, socket, sys, threading

KNOWN, ADDRESSES, PORT = 'rebound.example.com', ('127.0.0.2', '127.0.0.1'), 8443
parent = os.getppid()
listeners = {address: socket.create_server((address, PORT)) for address in ADDRESSES}
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(('127.0.0.1', 53))
asking.settimeout(0.2)
said = open(sys.argv[1], 'a')


def tell(line):
    print(line, file=said, flush=True)


def serve(address):
    while True:
        stream, _ = listeners[address].accept()
        tell('dialled ' + address)
        stream.close()


def reply(query, given):
    """Of as many addresses as there are given: an answer, a name without any of that type, or no such name."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    name, kind = '.'.join(labels), int.from_bytes(query[at + 1:at + 3], 'big')
    tell(f'asked {name} {kind}')
    answer = b''
    if (name, kind) == (KNOWN, 1):
        answer = b'\xc0\x0c\0\1\0\1\0\0\0\0\0\4' + socket.inet_aton(next(given))
    code = b'\x81\x80' if name == KNOWN else b'\x81\x83'
    return query[:2] + code + b'\0\1' + bytes((0, bool(answer))) + bytes(4) + query[12:at + 5] + answer


for address in ADDRESSES:
    threading.Thread(target=serve, args=(address,), daemon=True).start()
given = (address for _ in range(1000) for address in ADDRESSES)
while os.getppid() == parent:
    try:
        query, who = asking.recvfrom(4096)
    except TimeoutError:
        continue
    asking.sendto(reply(query, given), who)
