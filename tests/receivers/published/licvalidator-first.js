// Node.js/Express example
app.post('/webhooks/license-validator', (req, res) => {
const event = req.body;
console.log('Received event:', event.event);
console.log('Data:', event.data);
// Process the event
// ... your business logic here
// Return 200 OK to acknowledge receipt
res.status(200).send('OK');
});
