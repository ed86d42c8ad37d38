// An OpenID Connect provider on loopback for authferry's tests: the certified
// oidc-provider with rotating refresh tokens, and a control path to make its
// token endpoint slow, refusing or silent. Prints its URL as the first line of
// stdout and ends when stdin does, so it never outlives the test.
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

console.info = console.warn = console.error; // stdout is for the URL
const { default: Provider, interactionPolicy } = await import('oidc-provider');

const seconds = (name, fallback) => Number(process.env[name] ?? fallback);

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

// A choice of accounts, for who asks for it; the person goes on as who signs in next.
const policy = interactionPolicy.base();
policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 0);

const provider = new Provider(issuer, {
  interactions: { policy },
  discovery: { prompt_values_supported: ['none', 'login', 'consent', 'select_account'] },
  clients: [{
    client_id: 'authferry-test',
    application_type: 'native', // RFC 8252: any port of a loopback redirect
    redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback', 'http://[::1]/callback'],
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
  }, ...(process.env.SERVICE_JWK ? [{
    client_id: 'service',
    client_secret: 'secret-of-the-service',
    token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: [],
    grant_types: ['client_credentials'],
    response_types: [],
  }, {
    client_id: 'signing-service',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [JSON.parse(process.env.SERVICE_JWK)] },
    redirect_uris: [],
    grant_types: ['client_credentials'],
    response_types: [],
  }] : [])],
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'email'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false, // the e-mail address stands in the ID token too
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true }),
  }),
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
    clientCredentials: { enabled: true },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: Boolean(process.env.PAR) },
    // As an authorization server of remote MCP servers, with MCP set.
    ...(process.env.MCP ? {
      registration: { enabled: true },
      registrationManagement: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({ scope: 'call', audience: resource, accessTokenTTL: seconds('AT_TTL', 3600), accessTokenFormat: 'opaque' }),
        useGrantedResource: () => false, // each request has to name it
      },
    } : {}),
  },
  issueRefreshToken: () => true,
  rotateRefreshToken: () => true, // reuse of a rotated one revokes the grant
  ttl: {
    AccessToken: seconds('AT_TTL', 3600),
    ClientCredentials: seconds('AT_TTL', 3600),
    RefreshToken: seconds('RT_TTL', 86400),
    IdToken: 3600,
    AuthorizationCode: 60,
    DeviceCode: seconds('DEVICE_TTL', 600),
    Grant: 86400,
    Interaction: 600,
    Session: 86400,
  },
  cookies: { keys: ['authferry-test'] },
});

const counters = { choices: 0, token_requests: 0, codes: 0, devices: 0, refreshes: 0, services: 0, refused: 0, revoked: 0 };
provider.on('grant.success', (ctx) => {
  counters[{ authorization_code: 'codes', refresh_token: 'refreshes', client_credentials: 'services' }[ctx.oidc.params.grant_type] ?? 'devices'] += 1;
});
provider.on('grant.error', () => { counters.refused += 1; });
provider.on('grant.revoked', () => { counters.revoked += 1; });

const body = async (req) => {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
};

let fault = {}; // {times, delay_ms, status, retry_after, drop: "before" | "after"}
const handle = provider.callback();

const token = async (req, res) => {
  counters.token_requests += 1;
  const now = fault.times > 0 ? fault : {};
  fault.times -= 1;
  if (now.delay_ms) await sleep(now.delay_ms);
  if (now.drop === 'before' || now.status) {
    for await (const chunk of req) void chunk; // who answers before that has not seen the token
  }
  if (now.drop === 'before') return req.socket.destroy();
  if (now.status) {
    if (now.retry_after) res.setHeader('retry-after', now.retry_after);
    return res.writeHead(now.status, { 'content-type': 'text/html' }).end('<h1>not now</h1>');
  }
  // Everything happens, the answer alone is lost.
  if (now.drop === 'after') res.end = () => req.socket.destroy();
  return handle(req, res);
};

const choosing = async (req, res) => {
  try {
    return (await provider.interactionDetails(req, res)).prompt.name === 'select_account';
  } catch {
    return false; // no interaction, or an old one: the provider says so
  }
};

server.on('request', async (req, res) => {
  const { pathname } = new URL(req.url, issuer);
  switch (pathname) {
    case '/control/fault':
      fault = JSON.parse(await body(req));
      res.writeHead(204).end();
      break;
    case '/control/audience':
    {
      const token = await body(req);
      const found = await provider.AccessToken.find(token) ?? await provider.ClientCredentials.find(token);
      res.end(found?.aud ?? '');
    }
      break;
    case '/control/counters':
      res.end(JSON.stringify(counters));
      break;
    case '/token':
      await token(req, res);
      break;
    default:
      if (req.method === 'GET' && pathname.startsWith('/interaction/') && await choosing(req, res)) {
        counters.choices += 1;
        await provider.interactionFinished(req, res, { select_account: {} }, { mergeWithLastSubmission: true });
        break;
      }
      handle(req, res);
  }
});

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${issuer}\n`);
