// An HTTP/2 server that takes WebSockets by extended CONNECT (RFC 8441), and nothing else. It sends each message back, reversed
// at `/ws/reversed`; to `leak` it says the authorization that it was shown.
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
const directory = process.argv[2];
const read = (name) => readFileSync(`${directory}/${name}`);
const server = createSecureServer({ cert: read('cert.pem'), key: read('key.pem'), settings: { enableConnectProtocol: true } });
server.on('stream', (stream, headers) => {
    appendFileSync(`${directory}/requests`, JSON.stringify(headers) + '\n');
    stream.on('error', () => {});
    if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
        return stream.respond({ ':status': 404 }, { endStream: true });
    }
    if (headers[':path'] === '/busy') {
        return stream.respond({ ':status': 503 }, { endStream: true });
    }
    stream.respond({ ':status': 200 });
    let buffer = Buffer.alloc(0);
    stream.on('data', (piece) => {
        buffer = Buffer.concat([buffer, piece]);
        while (buffer.length >= 6 && buffer.length >= 6 + (buffer[1] & 0x7f)) {
            const length = buffer[1] & 0x7f;
            let payload = Buffer.from(buffer.subarray(6, 6 + length)).map((byte, at) => byte ^ buffer[2 + (at % 4)]);
            if (headers[':path'] === '/ws/reversed') payload = payload.reverse();
            if (payload.toString() === 'leak') payload = Buffer.from(headers.authorization);
            appendFileSync(`${directory}/messages`, payload.toString() + '\n');
            stream.write(Buffer.concat([Buffer.from([buffer[0], payload.length]), payload]));
            buffer = buffer.subarray(6 + length);
        }
    });
    stream.on('end', () => stream.end());
});
server.listen(0, '127.0.0.1', () => {
    writeFileSync(`${directory}/port.new`, String(server.address().port));
    renameSync(`${directory}/port.new`, `${directory}/port`);
});
