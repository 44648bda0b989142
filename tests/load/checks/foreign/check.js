// usage: node check.js CHECKS ROUNDS < {"token", "jwks", "now"}    prints microseconds of CPU a check, a round and side
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createVerifier } from 'fast-jwt';
import { createLocalJWKSet, jwtVerify } from 'jose';

const [checks, rounds] = process.argv.slice(2).map(Number);
const { token, jwks, now } = JSON.parse(readFileSync(0, 'utf8'));
const issuer = 'https://auth.example.com/auth';
const key = createPublicKey({ key: jwks.keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
const fast = cache => createVerifier({ key, algorithms: ['EdDSA'], allowedAud: 'event', allowedIss: issuer, clockTimestamp: now * 1000, cache });
const [plain, cached, set] = [fast(false), fast(1024), createLocalJWKSet(jwks)];
const options = { issuer, audience: 'event', typ: 'at+jwt', currentDate: new Date(now * 1000) };
const sides = {
  'fast-jwt (npm)': async () => plain(token),
  'fast-jwt, cached': async () => cached(token),
  'jose (npm)': () => jwtVerify(token, set, options),
};
const report = Object.fromEntries(Object.keys(sides).map(name => [name, []]));
for (let round = 0; round <= rounds; round++) {
  for (const [name, check] of Object.entries(sides)) {
    const start = process.cpuUsage();
    for (let i = 0; i < checks; i++) await check();
    const { user, system } = process.cpuUsage(start);
    // The first round warms up.
    if (round > 0) report[name].push((user + system) / checks);
  }
}
console.log(JSON.stringify(report));
