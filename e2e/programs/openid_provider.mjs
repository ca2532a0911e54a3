// A real OpenID provider (oidc-provider) for tests:
// node openid_provider.mjs FOLDER-OF-PACKAGES PORT [PERSON=GROUP,GROUP]...
//
// Whoever comes is signed on at once: as the login_hint of the request, or as the last GET /test/who?sub=… said.
// GET /test/groups?sub=…&groups=a,b puts somebody into groups, /test/rotate takes new keys, and
// /test/life?seconds=… says how long tokens are good from now on; less than nothing makes expired ones.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [folder, port, ...people] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));
const issuer = `http://127.0.0.1:${port}`;
const groups = new Map(people.map((person) => person.split('=')).map(([sub, names]) => [sub, names.split(',')]));
let who = 'nobody';
let life = 600;

function jwks() {
  const jwk = (type, options, alg) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, kid: randomUUID(), use: 'sig',
  });
  return {
    keys: [
      jwk('rsa', { modulusLength: 2048 }, 'RS256'),
      jwk('ec', { namedCurve: 'P-256' }, 'ES256'),
      jwk('ed25519', {}, 'EdDSA'),
    ],
  };
}

const client = (client_id, id_token_signed_response_alg) => ({
  client_id,
  client_secret: `the secret of ${client_id}`,
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  token_endpoint_auth_method: 'client_secret_basic',
  id_token_signed_response_alg,
});

function provider() {
  const made = new Provider(issuer, {
    clients: [client('muster', 'RS256'), client('other', 'RS256'), client('es', 'ES256'), client('ed', 'EdDSA')],
    jwks: jwks(),
    cookies: { keys: [randomUUID()] },
    scopes: ['openid', 'email', 'profile'],
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name'] },
    // Groups are for the ID token itself, not only for whoever asks for more.
    conformIdTokenClaims: false,
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    ttl: { IdToken: () => life, AccessToken: () => Math.max(life, 1) },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: '', audience: 'muster', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (_, token) => ({ groups: groups.get(token.accountId) ?? [] }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, accountId) => ({
      accountId,
      claims: () => ({
        sub: accountId,
        name: accountId,
        email: `${accountId}@example.org`,
        email_verified: true,
        groups: groups.get(accountId) ?? [],
      }),
    }),
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  return { made, callback: made.callback() };
}

let current = provider();

createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  const asked = (name) => url.searchParams.get(name);
  switch (url.pathname) {
    case '/test/who': who = asked('sub'); return response.end();
    case '/test/groups': groups.set(asked('sub'), asked('groups').split(',').filter(Boolean)); return response.end();
    case '/test/life': life = Number(asked('seconds')); return response.end();
    case '/test/rotate': current = provider(); return response.end();
  }
  if (!url.pathname.startsWith('/interaction/')) return current.callback(request, response);
  const { params } = await current.made.interactionDetails(request, response);
  const login = { accountId: params.login_hint ?? who };
  // Who comes over a native client has to agree each time.
  return current.made.interactionFinished(request, response, { login, consent: {} });
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
