// Receivers in Node. Says its port on standard output, what was received at /_seen.

import { createServer } from 'node:http';
import { discord, slack } from './chats.mjs';
import { consents } from './consents.mjs';
import { libraries, middlewares } from './libraries.mjs';
import { published } from './published.mjs';

const settings = JSON.parse(process.env.RECEIVER_SETTINGS);
process.env.WEBHOOK_SECRET = settings.secret;
process.env.KEYPORT_WEBHOOK_SECRET = settings.secret;

const seen = {};
const saw = (path, value) => (seen[path] ??= []).push(value);

async function bodyOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A receiver of a function that answers what it read, or throws. */
const answering = (path, receive) => async (req, res) => {
  try {
    const body = await bodyOf(req);
    const { method, url, headers } = req;
    saw(path, await receive({ method, url, headers, body, text: body.toString() }));
    res.writeHead(200).end();
  } catch (error) {
    res.writeHead(400).end(String(error));
  }
};

const routes = new Map([
  ...published(saw),
  ...middlewares(settings, saw),
  ...consents(saw),
  ...[...libraries(settings), ['/slack', slack], ['/discord', discord]].map(([path, receive]) => [
    path,
    answering(path, receive),
  ]),
]);

const server = createServer((req, res) => {
  const [path] = req.url.split('?');
  if (path === '/_seen') return res.end(JSON.stringify(seen));
  const route = routes.get(path);
  if (!route) return res.writeHead(404).end();
  return route(req, res);
});

server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
