// An MCP server by the official TypeScript SDK, over Streamable HTTP with TLS. Writes every message that reaches it to `seen`.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
const [modules, directory, mode] = process.argv.slice(2);
const require = createRequire(modules + '/');
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { McpServer } = await load('@modelcontextprotocol/sdk/server/mcp.js');
const { StreamableHTTPServerTransport } = await load('@modelcontextprotocol/sdk/server/streamableHttp.js');
const { z } = await load('zod');

const sessions = new Map();
async function session() {
    const server = new McpServer({ name: 'tests', version: '1.0.0' });
    for (const name of ['search', 'read_file', 'delete_all']) {
        server.registerTool(name, { description: name, inputSchema: { what: z.string() } },
            async ({ what }) => ({ content: [{ type: 'text', text: `${name} did ${what}` }] }));
    }
    const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(), enableJsonResponse: mode === 'json',
        onsessioninitialized: (id) => sessions.set(id, transport),
    });
    await server.connect(transport);
    return transport;
}
const server = createServer({ cert: readFileSync(directory + '/cert.pem'), key: readFileSync(directory + '/key.pem') });
server.on('request', async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    appendFileSync(directory + '/seen', `${request.method} ${text}\n`);
    let body;
    try { body = text ? JSON.parse(text) : undefined; } catch { response.writeHead(400).end(); return; }
    const transport = sessions.get(request.headers['mcp-session-id']) ?? await session();
    await transport.handleRequest(request, response, body);
});
server.listen(0, '127.0.0.1', () => writeFileSync(directory + '/port', String(server.address().port)));
