// Receivers made of published libraries, as their own documentation uses them.

import { createPublicKey, verify as verifyWithKey } from 'node:crypto';
import { Webhooks, createNodeMiddleware } from '@octokit/webhooks';
import { verify as octokitVerify } from '@octokit/webhooks-methods';
import { HTTP } from 'cloudevents';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as SvixWebhook } from 'svix';
import { verifyKeygen } from './keygen.mjs';

const TOLERANCE_S = 300;

function refuse(reason) {
  throw new Error(reason);
}

/** GitHub's verifier for whoever signs the body as GitHub does, whatever the header is called. */
function octokit(header, { prefix = '', before = () => '', secret }) {
  return async ({ headers, text }) => {
    const given = headers[header] ?? refuse(`no ${header}`);
    if (!given.startsWith(prefix)) refuse(`${header} is ${given}`);
    const signature = `sha256=${given.slice(prefix.length)}`;
    if (!(await octokitVerify(secret, before(headers) + text, signature))) refuse('signature');
    return JSON.parse(text);
  };
}

function keyportTimestamp(headers) {
  const timestamp = headers['x-keyport-timestamp'] ?? refuse('no timestamp');
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) refuse('too old');
  return `${timestamp}.`;
}

function ed25519({ headers, body }, whpk) {
  const [id, timestamp, list] = ['id', 'timestamp', 'signature'].map(
    (name) => headers[`webhook-${name}`] ?? refuse(`no webhook-${name}`),
  );
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) refuse('too old');
  const x = Buffer.from(whpk.replace('whpk_', ''), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const valid = list
    .split(' ')
    .filter((one) => one.startsWith('v1a,'))
    .some((one) => verifyWithKey(null, signed, key, Buffer.from(one.slice(4), 'base64')));
  if (!valid) refuse('no v1a signature that is valid');
  return JSON.parse(body.toString());
}

function cloudEvents({ headers, body, text }, secret) {
  new Webhook(secret).verify(body, headers);
  const events = HTTP.toEvent({ headers, body: text });
  const list = Array.isArray(events) ? events : [events];
  for (const event of list) event.validate();
  return list.map((event) => event.toJSON());
}

/** The middleware answers by itself; what it lets through comes to `onAny`. */
function githubMiddleware(path, secret, saw) {
  const webhooks = new Webhooks({ secret });
  webhooks.onAny((event) => saw(path, event));
  return createNodeMiddleware(webhooks, { path, log: { ...console, error: () => undefined } });
}

async function github({ headers, text }, secret) {
  const webhooks = new Webhooks({ secret });
  let seen;
  webhooks.onAny((event) => {
    seen = event;
  });
  await webhooks.verifyAndReceive({
    id: headers['x-github-delivery'] ?? refuse('no delivery'),
    name: headers['x-github-event'] ?? refuse('no event'),
    signature: headers['x-hub-signature-256'] ?? refuse('no signature'),
    payload: text,
  });
  return seen;
}

/** Receivers by path: a function of the request that answers what it read, or throws. */
export function libraries({ secret, keys, whpk }) {
  const bare = { secret };
  const prefixed = { secret, prefix: 'sha256=' };
  const keygen = (algorithm) => (request) => verifyKeygen(request, keys, algorithm);
  const svix = ({ headers, body, text }) => {
    new SvixWebhook(secret).verify(body, headers);
    return JSON.parse(text);
  };
  return new Map([
    ['/octokit/keyport', octokit('x-keyport-signature', prefixed)],
    ['/octokit/licvalidator', octokit('x-webhook-signature', bare)],
    ['/octokit/getkeymanager', octokit('x-webhook-signature', bare)],
    ['/octokit/getkeymanager-prefixed', octokit('x-webhook-signature', prefixed)],
    ['/octokit/traffic', octokit('x-signature-sha256', bare)],
    [
      '/octokit/keyport-docs',
      octokit('x-keyport-signature', { secret, prefix: 'hmac-sha256=', before: keyportTimestamp }),
    ],
    ['/octokit/github', (request) => github(request, secret)],
    ['/standardwebhooks', ({ headers, body }) => new Webhook(secret).verify(body, headers)],
    ['/ed25519', (request) => ed25519(request, whpk)],
    ['/svix', svix],
    [
      '/svix-headers-only',
      ({ headers, ...request }) => {
        const svixOnly = Object.entries(headers).filter(([name]) => !name.startsWith('webhook-'));
        return svix({ headers: Object.fromEntries(svixOnly), ...request });
      },
    ],
    [
      '/stripe',
      ({ headers, body }) =>
        Stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret, TOLERANCE_S),
    ],
    ['/cloudevents/structured', (request) => cloudEvents(request, secret)],
    ['/cloudevents/binary', (request) => cloudEvents(request, secret)],
    ['/cloudevents/batch', (request) => cloudEvents(request, secret)],
    // The vectors are signed for these targets.
    ['/webhooks/keygen', keygen()],
    ['/keygen', keygen()],
    ['/keygen/ed25519', keygen('ed25519')],
    ['/keygen/rsa-sha256', keygen('rsa-sha256')],
    ['/keygen/rsa-pss-sha256', keygen('rsa-pss-sha256')],
    ['/keygen/ecdsa-p256', keygen('ecdsa-p256')],
  ]);
}

/** Receivers that answer by themselves. */
export function middlewares({ secret }, saw) {
  const path = '/octokit/middleware';
  return new Map([[path, githubMiddleware(path, secret, saw)]]);
}
