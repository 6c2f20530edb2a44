"""Inside the sandbox: an agent that is refused as fast as it can be, beside a client that calls now and then on a connection that stands."""
import hashlib, http.client, json, socket, ssl, sys, threading, time

NAME, SECONDS = 'api.example.com', float(sys.argv[1])
context = ssl.create_default_context()
over, refused = threading.Event(), []


def connect():
    return http.client.HTTPSConnection(NAME, context=context, timeout=60)


def flood(path, count=refused):
    """On one connection after the other, as a path that nobody takes ends it."""
    while not over.is_set():
        connection = connect()
        try:
            while not over.is_set():
                connection.request('GET', path)
                answer = connection.getresponse()
                answer.read()
                count.append(answer.status)
                if answer.getheader('connection') == 'close':
                    break
        except (OSError, http.client.HTTPException):
            pass
        connection.close()


def leave(path):
    """Asks, and does not wait for the answer."""
    while not over.is_set():
        raw = context.wrap_socket(socket.create_connection((NAME, 443)), server_hostname=NAME)
        raw.sendall(f'GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n'.encode())
        time.sleep(0.05)  # read it is, or the kernel would take it back
        raw.close()
        left.append(path)


left, paths = [], ['/no/' + 'x' * 60_000, '/no/' + 'y' * 15_000]
polite = connect()
polite.request('GET', '/echo/first')
polite.getresponse().read()
threads = [threading.Thread(target=flood, args=(path,)) for path in paths for _ in range(3)]
if 'leave' in sys.argv:
    threads += [threading.Thread(target=leave, args=(paths[1],)) for _ in range(2)]
for thread in threads:
    thread.start()
took, statuses, end = [], [], time.monotonic() + SECONDS
while time.monotonic() < end:
    begun = time.monotonic()
    polite.request('GET', '/echo/polite')
    answer = polite.getresponse()
    answer.read()
    took.append(time.monotonic() - begun)
    statuses.append(answer.status)
    time.sleep(0.05)
over.set()
for thread in threads:
    thread.join()
print(json.dumps({'refused': len(refused), 'left': len(left), 'polite': statuses, 'median': sorted(took)[len(took) // 2], 'slowest': max(took)}))
