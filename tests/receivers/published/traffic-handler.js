// Customer's webhook handler — idempotent processing
app.post('/webhooks/traffic-orchestrator', async (req, res) => {
  const eventId = req.body.id
  
  // Check if already processed
  if (await db.webhookEvents.findOne({ eventId })) {
    return res.status(200).json({ received: true }) // Already processed
  }
  
  // Process the event
  await handleLicenseEvent(req.body)
  
  // Mark as processed
  await db.webhookEvents.insert({ eventId, processedAt: new Date() })
  
  res.status(200).json({ received: true })
})
