// Customer's system: verify the signature
const expectedSignature = crypto
  .createHmac('sha256', process.env.WEBHOOK_SECRET)
  .update(rawBody)
  .digest('hex')

if (signature !== expectedSignature) {
  return res.status(401).json({ error: 'Invalid signature' })
}
