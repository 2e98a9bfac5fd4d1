// The handlers in ../published, as they stand, each with an application of its own. What they read
// and call is recorded: their `JSON` tells what it parsed, the functions they expect of their
// surroundings say that they were called.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import express from 'express';

const require = createRequire(import.meta.url);
const folder = new URL('../published/', import.meta.url);

function run(file, scope) {
  const source = readFileSync(new URL(file, folder), 'utf8').replace(
    /^import (\w+)\s+from '([^']+)';$/gm,
    "const $1 = require('$2');",
  );
  // The block lets a handler declare what the scope has too.
  return new Function(...Object.keys(scope), `{${source}\n}`)(...Object.values(scope));
}

const telling = (saw) => ({
  parse(text) {
    const value = JSON.parse(text);
    saw(value);
    return value;
  },
});

/** For a handler that makes its application itself. */
const requiring = (app) => (name) =>
  name === 'express' ? Object.assign(() => app, express) : require(name);

function keyport(saw, calls) {
  const app = express();
  const called = (name) => async (...args) => calls([name, ...args]);
  run('keyport.js', {
    require: requiring(app),
    JSON: telling(saw),
    startRenewalSequence: called('startRenewalSequence'),
    notifyFraudTeam: called('notifyFraudTeam'),
    updateCRM: called('updateCRM'),
  });
  return app;
}

function licvalidatorFirst(saw) {
  const app = express().use(express.json());
  const event = {};
  const log = (label, value) => {
    if (label === 'Data:') saw({ ...event, data: value });
    else event.event = value;
  };
  run('licvalidator-first.js', { app, console: { log } });
  return app;
}

function licvalidator(saw) {
  const app = express();
  run('licvalidator.js', { app, express, require, JSON: telling(saw) });
  return app;
}

function keygen(saw) {
  const app = express();
  app.listen = () => undefined;
  run('keygen.js', { require: requiring(app), JSON: telling(saw) });
  return app;
}

function traffic(saw) {
  const app = express();
  const keepRaw = (req, _res, buffer) => {
    req.rawBody = buffer;
  };
  app.use(express.json({ verify: keepRaw }), (req, res, next) => {
    const refused = run('traffic-verify.js', {
      crypto: { createHmac },
      rawBody: req.rawBody ?? '',
      signature: req.headers['x-signature-sha256'],
      res,
    });
    if (!refused) next();
  });
  const processed = new Map();
  const webhookEvents = {
    findOne: async ({ eventId }) => processed.get(eventId),
    insert: async (row) => processed.set(row.eventId, row),
  };
  run('traffic-handler.js', {
    app,
    db: { webhookEvents },
    handleLicenseEvent: async (event) => saw(event),
  });
  return app;
}

/** The published handlers by path. */
export function published(saw) {
  const at = (path) => (value) => saw(path, value);
  return new Map([
    ['/webhooks/keyport', keyport(at('/webhooks/keyport'), at('/webhooks/keyport/calls'))],
    ['/webhooks/license-validator', licvalidatorFirst(at('/webhooks/license-validator'))],
    ['/webhook', licvalidator(at('/webhook'))],
    ['/my/webhook/url', keygen(at('/my/webhook/url'))],
    ['/webhooks/traffic-orchestrator', traffic(at('/webhooks/traffic-orchestrator'))],
  ]);
}
