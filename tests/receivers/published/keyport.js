import express from 'express';
import crypto  from 'crypto';

const app = express();
app.use(express.raw({ type: 'application/json' })); // raw body required

app.post('/webhooks/keyport', (req, res) => {
  const sig = req.headers['x-keyport-signature'];
  const expected = 'sha256=' + crypto
    .createHmac('sha256', process.env.KEYPORT_WEBHOOK_SECRET)
    .update(req.body)
    .digest('hex');

  if (sig !== expected) return res.status(401).send('Unauthorized');

  res.status(200).send('ok');            // respond immediately
  handleEvent(JSON.parse(req.body.toString())).catch(console.error);
});

async function handleEvent({ type, data }) {
  switch (type) {
    case 'license.expired':
      await startRenewalSequence(data.license.customer_email);
      break;
    case 'license.ip_blocked':
      await notifyFraudTeam({ key: data.license.key, ip: data.ip_address });
      break;
    case 'license.revoked':
      await updateCRM(data.license.customer_email, { status: 'revoked' });
      break;
  }
}
