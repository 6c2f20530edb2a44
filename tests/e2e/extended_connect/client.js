// Inside the sandbox: WebSockets by extended CONNECT (RFC 8441), with Node's own HTTP/2.
const http2 = require('node:http2');
const session = http2.connect('https://api.example.com');
const offered = new Promise((resolve) => session.once('remoteSettings', (settings) => resolve(settings.enableConnectProtocol)));
// A socket once its head has come: `say` sends a message and gives the next that comes back, or null when there is none.
async function open(path, fields = {}, protocol = 'websocket') {
    await offered;
    const stream = session.request({ ':method': 'CONNECT', ':protocol': protocol, ':path': path, 'sec-websocket-version': '13', ...fields }, { endStream: false });
    let [buffer, over, told] = [Buffer.alloc(0), false, () => {}];
    stream.on('data', (piece) => { buffer = Buffer.concat([buffer, piece]); told(); });
    for (const end of ['end', 'error', 'close']) stream.on(end, () => { over = true; told(); });
    const status = await new Promise((resolve) => { stream.once('response', (headers) => resolve(headers[':status'])); stream.once('error', () => resolve(null)); });
    const say = async (text) => {
        stream.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]));
        while (!over && (buffer.length < 2 || buffer.length < 2 + buffer[1])) await new Promise((resolve) => { told = resolve; });
        if (buffer.length < 2 || buffer.length < 2 + buffer[1] || (buffer[0] & 0xf) === 8) return null; // 8: it is closed
        const message = buffer.subarray(2, 2 + buffer[1]).toString();
        buffer = buffer.subarray(2 + message.length);
        return message;
    };
    return { status, say, stream };
}
async function run(program) {
    console.log(JSON.stringify(await program()));
    session.destroy();
}
