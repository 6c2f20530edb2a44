// A certified authorization server (oidc-provider) as a process of its own: `node server.mjs MODULES DIRECTORY CLIENT BROKER`.
//
// CLIENT is the broker's client there, in JSON; with `key_file` its public key is taken from that file, and goes by `key_id`, if any. Client credentials, client
// authentication (private_key_jwt too, each assertion once), resource indicators, revocation and introspection are oidc-provider's own.
// Token exchange (RFC 8693) and the JWT bearer grant (RFC 7523) are not in it and are registered here as custom grants: they
// find the broker's keys by discovery at BROKER and check the worker's JWT with jose. What was granted is in DIRECTORY/granted.
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createPublicKey } from 'node:crypto';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [modules, directory, clientText, broker] = process.argv.slice(2);
const require = createRequire(modules + '/');
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { Provider, errors } = await load('oidc-provider');
const { createRemoteJWKSet, jwtVerify } = await load('jose');

const RESOURCE = 'https://api.example.com/';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const TYPES = 'urn:ietf:params:oauth:token-type:';

const { key_file: keyFile, key_id: kid, ...client } = JSON.parse(clientText);
if (keyFile) {
    const jwk = createPublicKey(readFileSync(keyFile)).export({ format: 'jwk' });
    client.jwks = { keys: [kid ? { ...jwk, kid } : jwk] };
}
const service = { scope: 'api:read', accessTokenTTL: 300, accessTokenFormat: 'opaque' };
const server = createServer({ cert: readFileSync(directory + '/cert.pem'), key: readFileSync(directory + '/key.pem') });

server.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    const common = { redirect_uris: [], response_types: [], scope: 'api:read' };
    const provider = new Provider(issuer, {
        clients: [
            { ...common, client_id: 'exeat-broker', grant_types: ['client_credentials', EXCHANGE, BEARER], ...client },
            // Who asks what became of an access token: the API.
            { ...common, client_id: 'api', client_secret: 'the-secret-of-the-api', grant_types: [] },
        ],
        scopes: ['api:read'],
        clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
        features: {
            clientCredentials: { enabled: true }, revocation: { enabled: true }, introspection: { enabled: true },
            devInteractions: { enabled: false },
            resourceIndicators: {
                enabled: true,
                defaultResource: () => undefined,
                getResourceServerInfo: (ctx, resource) => {
                    if (resource !== RESOURCE) throw new errors.InvalidTarget();
                    return service;
                },
            },
        },
        ttl: { ClientCredentials: 300 },
    });

    // Who the worker is, by what the broker publishes at this moment; each JWT once.
    const worker = async (jwt) => {
        const discovery = await (await fetch(broker + '/.well-known/openid-configuration')).json();
        const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
        const wanted = { issuer: broker, audience: issuer + '/token', requiredClaims: ['sub', 'jti', 'exp', 'act'], maxTokenAge: '5m' };
        const { payload, protectedHeader } = await jwtVerify(jwt, keys, wanted).catch((error) => {
            throw new errors.InvalidGrant(error.message);
        });
        if (!await provider.ReplayDetection.unique(payload.iss, payload.jti, payload.exp)) {
            throw new errors.InvalidGrant('this JWT was used before');
        }
        return { sub: payload.sub, act: payload.act, jti: payload.jti, alg: protectedHeader.alg };
    };
    const give = async (ctx, by, jwt, more) => {
        const { resource, scope } = ctx.oidc.params;
        if (resource !== undefined && resource !== RESOURCE) throw new errors.InvalidTarget();
        const access = new provider.ClientCredentials({ client: ctx.oidc.client, scope });
        if (resource) access.resourceServer = new provider.ResourceServer(resource, service);
        appendFileSync(directory + '/granted', JSON.stringify({ by, resource, scope, ...await worker(jwt) }) + '\n');
        ctx.body = { access_token: await access.save(), token_type: 'Bearer', expires_in: access.expiration, scope, ...more };
    };
    provider.registerGrantType(EXCHANGE, async (ctx) => {
        const { subject_token: jwt, subject_token_type: type, requested_token_type: requested } = ctx.oidc.params;
        if (type !== TYPES + 'jwt' || requested !== TYPES + 'access_token') throw new errors.InvalidRequest('wrong types');
        await give(ctx, 'exchange', jwt, { issued_token_type: TYPES + 'access_token' });
    }, ['subject_token', 'subject_token_type', 'requested_token_type', 'resource', 'audience', 'scope'], ['resource']);
    provider.registerGrantType(BEARER, async (ctx) => {
        await give(ctx, 'bearer', ctx.oidc.params.assertion, {});
    }, ['assertion', 'resource', 'scope'], ['resource']);

    provider.on('grant.error', (ctx, error) => console.error(error.message, error.error_description, error.error_detail ?? ''));
    server.on('request', provider.callback());
    writeFileSync(directory + '/issuer.new', issuer);
    renameSync(directory + '/issuer.new', directory + '/issuer');
});
