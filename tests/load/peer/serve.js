// npm's `oidc-provider` as m2mint's peer: in-memory storage, client credentials, JWT access tokens signed with Ed25519.
//
// usage: node serve.js PEER.json    {"clients": [{"id", "secret", "method"}], "audience", "resource", "scope", "lifetime"}
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { generateKeyPair, exportJWK, calculateJwkThumbprint } from 'jose';
import { Provider } from 'oidc-provider';

const { clients, audience, resource, scope, lifetime } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

async function signingKey() {
  const { privateKey } = await generateKeyPair('Ed25519', { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), use: 'sig', alg: 'EdDSA' };
}

const server = createServer();
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    // Two keys, as m2mint publishes: the one that signs comes first.
    jwks: { keys: [await signingKey(), await signingKey()] },
    clients: clients.map(({ id, secret, method }) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      scope,
    })),
    scopes: scope.split(' '),
    enabledJWA: { idTokenSigningAlgValues: ['EdDSA'] },
    clientDefaults: { id_token_signed_response_alg: 'EdDSA' },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator) => {
          if (indicator !== resource) throw new Error(`unknown resource ${indicator}`);
          return {
            scope, audience, accessTokenTTL: lifetime, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'EdDSA' } },
          };
        },
      },
    },
  });
  server.on('request', provider.callback());
  console.log(`listens on ${issuer}`);
});

process.on('SIGTERM', () => process.exit(0));
