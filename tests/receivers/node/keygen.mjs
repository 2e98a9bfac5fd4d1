// Verifies what Keygen sends with node:crypto and the published public keys alone, following
// Keygen's documentation of its signatures.

import { constants, createHash, createPublicKey, verify } from 'node:crypto';

const CLOCK_DRIFT_MS = 5 * 60 * 1000;
const SHA256_BYTES = 32;

/** A public key as it is published: PEM, or 64 hexadecimal digits for Ed25519. */
export function publicKey(text) {
  if (text.startsWith('-----')) return createPublicKey(text);
  const x = Buffer.from(text, 'hex').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

const bits = (key) => key.asymmetricKeyDetails.modulusLength;

const ALGORITHMS = {
  ed25519: (key) => [null, key],
  'rsa-sha256': (key) => ['sha256', { key, padding: constants.RSA_PKCS1_PADDING }],
  'rsa-pss-sha256': (key) => {
    const saltLength = bits(key) / 8 - SHA256_BYTES - 2; // the longest there is room for
    return ['sha256', { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }];
  },
  'ecdsa-p256': (key) => ['sha256', { key, dsaEncoding: 'der' }],
};

function parameters(header) {
  return Object.fromEntries([...header.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]]));
}

function strictBase64(text) {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new Error('signature is not base64');
  return bytes;
}

/**
 * Throws unless the request was signed with the algorithm's key, for this body, just now; with that of
 * the algorithm it names where none is wanted.
 */
export function verifyKeygen({ method, url, headers, body }, keys, algorithmWanted) {
  for (const name of ['keygen-signature', 'date', 'digest', 'host']) {
    if (!headers[name]) throw new Error(`no ${name}`);
  }
  const { algorithm, signature, headers: signed } = parameters(headers['keygen-signature']);
  if (signed !== '(request-target) host date digest') throw new Error(`signed is ${signed}`);
  if (!(algorithm in ALGORITHMS)) throw new Error('no such algorithm');
  if (algorithm !== (algorithmWanted ?? algorithm)) throw new Error(`algorithm is ${algorithm}`);
  const drift = Math.abs(Date.now() - Date.parse(headers.date));
  if (!(drift <= CLOCK_DRIFT_MS)) throw new Error(`date is ${drift} ms off`);
  const digest = `sha-256=${createHash('sha256').update(body).digest('base64')}`;
  if (headers.digest !== digest) throw new Error('digest differs');
  const target = [
    `(request-target): ${method.toLowerCase()} ${url}`,
    `host: ${headers.host}`,
    `date: ${headers.date}`,
    `digest: ${headers.digest}`,
  ].join('\n');
  const [hash, key] = ALGORITHMS[algorithm](publicKey(keys[algorithm]));
  if (!verify(hash, Buffer.from(target), key, strictBase64(signature))) {
    throw new Error('signature differs');
  }
  return JSON.parse(body.toString());
}
