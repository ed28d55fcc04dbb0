// A backend as the AWS IoT Device SDK for JavaScript makes it: with an access key, over
// WebSocket. It reads along with one topic and publishes to it, and asks for a shadow.
// What arrives is printed. Key and session token come from the environment.
const { device, thingShadow } = require('aws-iot-device-sdk')
const [host, port, region] = process.argv.slice(2)
const options = (clientId) => ({ protocol: 'wss', host, port: Number(port), region, clientId })

setTimeout(() => { console.error('nothing came within a minute'); process.exit(1) }, 60000)
const got = {}
function done (what, value) {
  got[what] = value
  if (Object.keys(got).length === 2) {
    console.log(JSON.stringify(got, ['message', 'shadow']))
    process.exit(0)
  }
}
function fail (who) {
  return (error) => { console.error(who, error); process.exit(1) }
}

const backend = device(options('backend'))
backend.on('error', fail('backend'))
backend.on('message', (topic, payload) => done('message', `${topic} ${payload}`))
backend.on('connect', () => backend.subscribe('mill/+', { qos: 1 }, (error, granted) => {
  if (error || granted[0].qos !== 1) fail('subscribe')(error || granted)
  backend.publish('mill/speed', '12', { qos: 1 })
}))

const shadows = thingShadow(options('shadows'))
shadows.on('error', fail('shadows'))
shadows.on('status', (thing, status, token, document) => done('shadow', `${thing} ${status} ${document.state.desired.on}`))
shadows.on('connect', () => shadows.register('Lamp', {}, () => shadows.update('Lamp', { state: { desired: { on: true } } })))
