/**
 * An identity provider on this machine: `oidc-provider`, as others run it. It says where it is in one line of JSON; then
 * each line on its standard input is a command: `rotate` gives it a new key (the old one stays in its set), `stop` ends it.
 *
 * Access tokens are JWTs for the resource `greenroom`; signing in asks for nothing but a name.
 */
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const [life = '3600', alg = 'ES256'] = process.argv.slice(2);

const newKey = async (kid) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' };
};

const keys = [await newKey('key-1')];
const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${server.address().port}`;

const start = () => {
  const provider = new Provider(url, {
    jwks: { keys },
    clients: [
      {
        client_id: 'app',
        redirect_uris: ['http://127.0.0.1/callback'],
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        id_token_signed_response_alg: alg,
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
    pkce: { required: () => true },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id}'s name` }) }),
    extraTokenClaims: (_ctx, token) => ({ name: `${token.accountId}'s name` }),
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:greenroom',
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid offline_access',
          audience: 'greenroom',
          accessTokenTTL: Number(life),
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg } },
        }),
      },
    },
    ttl: { AccessToken: Number(life) },
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    cookies: { keys: ['a key of a test'] },
  });
  const handle = provider.callback();
  server.removeAllListeners('request');
  server.on('request', handle);
};
start();
console.log(JSON.stringify({ url }));

createInterface({ input: process.stdin }).on('line', async (line) => {
  if (line === 'rotate') {
    keys.unshift(await newKey(`key-${keys.length + 1}`));
    start();
    console.log(JSON.stringify({ kid: keys[0].kid }));
  } else if (line === 'stop') {
    process.exit(0);
  }
});
