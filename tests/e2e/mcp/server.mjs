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
const { InMemoryEventStore } = await load('@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js');
const { ListToolsRequestSchema } = await load('@modelcontextprotocol/sdk/types.js');
const { z } = await load('zod');
const names = ['search', 'read_file', 'delete_all'];

// The store's own ids are ordered by chance within a millisecond, and an answer that comes before where the stream broke off is
// never replayed.
class Counting extends InMemoryEventStore {
    count = 0;
    generateEventId(stream) { return `${stream}_${String(this.count++).padStart(9, '0')}`; }
}

const sessions = new Map();
async function session() {
    const server = new McpServer({ name: 'tests', version: '1.0.0' });
    for (const name of names) {
        server.registerTool(name, { description: name, inputSchema: { what: z.string() } },
            async ({ what }) => ({ content: [{ type: 'text', text: `${name} did ${what}` }] }));
    }
    if (mode === 'resumed') {
        // Ends the request's stream before it is answered: the answer comes on another one, which resumes it.
        server.server.setRequestHandler(ListToolsRequestSchema, async (request, { closeSSEStream }) => {
            closeSSEStream();
            return { tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) };
        });
    }
    const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(), enableJsonResponse: mode === 'json',
        eventStore: mode === 'resumed' ? new Counting() : undefined, retryInterval: 50,
        onsessioninitialized: (id) => sessions.set(id, transport),
    });
    await server.connect(transport);
    return transport;
}
const server = createServer({ cert: readFileSync(directory + '/cert.pem'), key: readFileSync(directory + '/key.pem') });
server.on('request', async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    appendFileSync(directory + '/seen', `${request.method} ${request.headers['last-event-id'] ? 'resumed' : ''} ${text}\n`);
    let body;
    try { body = text ? JSON.parse(text) : undefined; } catch { response.writeHead(400).end(); return; }
    const transport = sessions.get(request.headers['mcp-session-id']) ?? await session();
    await transport.handleRequest(request, response, body);
});
server.listen(0, '127.0.0.1', () => writeFileSync(directory + '/port', String(server.address().port)));
