// A device as the AWS IoT Device SDK for JavaScript makes it, with its shadow: it changes
// that, asks for it and deletes it, one after the other. What comes of it is printed.
const { thingShadow } = require('aws-iot-device-sdk')
const [host, port, ca, folder] = process.argv.slice(2)

setTimeout(() => { console.error('the shadow has not answered within a minute'); process.exit(1) }, 60000)
function fail (error) {
  console.error(error)
  process.exit(1)
}

const lamp = thingShadow({
  host, port: Number(port), caPath: ca, clientId: 'Lamp',
  certPath: `${folder}/Lamp.cert.pem`, keyPath: `${folder}/Lamp.private.key`
})
const steps = [
  () => lamp.update('Lamp', { state: { desired: { on: true }, reported: { on: false } } }),
  () => lamp.update('Lamp', { state: { reported: { on: true } } }),
  () => lamp.get('Lamp'),
  () => lamp.delete('Lamp'),
  () => lamp.get('Lamp')
]
const got = []
function next () {
  const step = steps.shift()
  if (!step) {
    console.log(got.join('\n'))
    process.exit(0)
  }
  if (step() === null) fail('another operation is under way')
}
lamp.on('error', fail)
lamp.on('timeout', () => fail('an operation was not answered'))
lamp.on('delta', (thing, delta) => got.push(`${thing} delta ${delta.version} ${JSON.stringify(delta.state)}`))
lamp.on('status', (thing, status, token, answer) => {
  got.push(`${thing} ${status} ${answer.version || answer.code} ${JSON.stringify(answer.state)}`)
  next()
})
lamp.on('connect', () => lamp.register('Lamp', {}, (error, failed) => {
  if (error || failed) fail(error || failed)
  next()
}))
