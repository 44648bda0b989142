// The Task Service in Node: schedules the task that it is given, by creating an event and a file.
//
// usage: ISSUER= CLIENT_ID= CLIENT_SECRET= CALENDAR= FILES= node task.mjs TITLE
const { ISSUER, CLIENT_ID, CLIENT_SECRET, CALENDAR, FILES } = process.env;
const title = process.argv[2];

/** Each service that is called needs a token of its own. */
async function token(audience, scope) {
  const response = await fetch(`${ISSUER}/oauth/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, grantType: 'client_credentials', scope: [scope], audience }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error}: ${answer.error_description}`);
  return answer.accessToken;
}

async function send(url, method, audience, scope, body) {
  const headers = { authorization: `Bearer ${await token(audience, scope)}`, 'content-type': 'application/json' };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
}

await send(`${CALENDAR}/events`, 'POST', 'event', 'event.create', { title });
await send(`${FILES}/files/${encodeURIComponent(title)}`, 'PUT', 'file', 'file.create', { content: 'to do' });
console.log(`scheduled ${title}`);
