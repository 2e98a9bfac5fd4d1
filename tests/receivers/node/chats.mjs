// What Slack's and Discord's incoming webhooks take, by their documentation: one JSON object with a
// text for people. Nothing is signed; the URL is the secret.

import { readableText } from './readable.mjs';

const SLACK_CHARACTERS_MAX = 40000;
const DISCORD_CHARACTERS_MAX = 2000;

function object({ headers, text }) {
  if (!headers['content-type']?.startsWith('application/json')) throw new Error('not JSON');
  return JSON.parse(text);
}

export function slack(request) {
  const body = object(request);
  if (Object.keys(body).join() !== 'text') throw new Error('no_text');
  readableText(body.text, SLACK_CHARACTERS_MAX);
  // https://docs.slack.dev: &, < and > are control characters and are sent as entities.
  if (/[<>]|&(?!amp;|lt;|gt;)/.test(body.text)) throw new Error('control characters');
  return body;
}

export function discord(request) {
  const body = object(request);
  const unknown = Object.keys(body).filter((n) => n !== 'content' && n !== 'allowed_mentions');
  if (unknown.length > 0) throw new Error(`unknown ${unknown}`);
  readableText(body.content, DISCORD_CHARACTERS_MAX);
  return body;
}
