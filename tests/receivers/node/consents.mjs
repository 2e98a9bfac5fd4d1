// Targets of the CloudEvents abuse protection handshake (http-webhook.md, section 4): one that agrees
// and one that does not.

/** Receivers by path. */
export function consents(saw) {
  const target = (path, answer) => (req, res) => {
    req.resume();
    saw(path, { method: req.method, headers: req.headers });
    if (req.method === 'OPTIONS') answer(req, res);
    else res.writeHead(204).end();
  };
  const agrees = (req, res) =>
    res
      .writeHead(200, {
        Allow: 'POST',
        'WebHook-Allowed-Origin': req.headers['webhook-request-origin'],
        'WebHook-Allowed-Rate': '*',
      })
      .end();
  // Consent is in the headers alone: this status says nothing.
  const refuses = (_req, res) => res.writeHead(200, { Allow: 'POST' }).end();
  return new Map(
    [
      ['/consent/agrees', agrees],
      ['/consent/refuses', refuses],
    ].map(([path, answer]) => [path, target(path, answer)]),
  );
}
