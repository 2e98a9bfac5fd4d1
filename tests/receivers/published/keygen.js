const bodyParser = require("body-parser")
const express = require("express")
const app = express()
app.use(bodyParser.json({ type: "application/vnd.api+json" }))
app.use(bodyParser.json({ type: "application/json" }))
app.post("/my/webhook/url", async (req, res) => {
const { data } = req.body
if (!data) {
return res.sendStatus(400)
}
// TODO: Verify webhook's signature
switch (data.attributes.event) {
case "user.created": {
const user = JSON.parse(data.attributes.payload)
// … do something when a user is created e.g. create a Stripe customer
break
}
case "license.created": {
const license = JSON.parse(data.attributes.payload)
// … do something when a license is created e.g. charge the licensee
break
}
case "license.expiring-soon": {
const license = JSON.parse(data.attributes.payload)
// … do something when a license is expiring soon e.g. email the licensee
break
}
case "license.expired": {
const license = JSON.parse(data.attributes.payload)
// … do something when a license is expired e.g. cancel their subscription
break
}
}
// Let Keygen know the event was received successfully
res.sendStatus(200)
})
const server = app.listen(8080, 'localhost', () => {
const { address, port } = server.address()
console.log(`Listening at http://${address}:${port}`)
})
