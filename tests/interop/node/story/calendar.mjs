// The Calendar Service in Node: Express, and jose as the documentation of the flow uses it.
//
// usage: ISSUER=http://127.0.0.1:3567/auth node calendar.mjs    prints where it listens
import express from 'express';
import * as jose from 'jose';

const ISSUER = process.env.ISSUER;
// Seconds for which a key that is not known is not asked for again.
const COOLDOWN = Number(process.env.JWKS_COOLDOWN ?? 30);
const JWKS = jose.createRemoteJWKSet(new URL(`${ISSUER}/jwt/jwks.json`), { cooldownDuration: COOLDOWN * 1000 });

/** Lets a request in whose token grants `scope` at this service. */
const requires = scope => async (request, response, next) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  if (scheme.toLowerCase() !== 'bearer' || !token) {
    return response.status(401).set('www-authenticate', 'Bearer').json({ error: 'invalid_token' });
  }
  try {
    const { payload } = await jose.jwtVerify(token, JWKS, {
      issuer: ISSUER,
      audience: 'event',
      typ: 'at+jwt',
      requiredClaims: ['stt', 'scp'],
    });
    if (payload.stt !== 1) throw new Error('not an access token');
    if (!payload.scp.includes(scope)) {
      return response.status(403).set('www-authenticate', 'Bearer error="insufficient_scope"').json({ error: 'insufficient_scope' });
    }
    request.caller = payload.client_id;
    next();
  } catch (error) {
    response.status(401).set('www-authenticate', 'Bearer error="invalid_token"').json({ error: 'invalid_token', why: error.code ?? error.message });
  }
};

const events = [];
const app = express();
app.get('/events', requires('event.view'), (_, response) => response.json(events));
app.post('/events', requires('event.create'), express.json(), (request, response) => {
  events.push({ title: request.body.title, createdBy: request.caller });
  response.status(201).json(events.at(-1));
});
const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
