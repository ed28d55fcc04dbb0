// Two devices as the AWS IoT Device SDK for JavaScript makes them: one subscribes to
// "button/+", the other publishes with QoS 0 and 1. What arrives is printed.
const { device } = require('aws-iot-device-sdk')
const [host, port, ca, folder] = process.argv.slice(2)

function connect (name) {
  const made = device({
    host, port: Number(port), caPath: ca, clientId: name,
    certPath: `${folder}/${name}.cert.pem`, keyPath: `${folder}/${name}.private.key`
  })
  made.on('error', (error) => { console.error(name, error); process.exit(1) })
  return made
}

setTimeout(() => { console.error('nothing came within a minute'); process.exit(1) }, 60000)
const got = {}
const lamp = connect('Lamp')
lamp.on('message', (topic, payload) => {
  got[topic] = String(payload)
  if (Object.keys(got).length === 2) {
    console.log(JSON.stringify(got))
    process.exit(0)
  }
})
lamp.on('connect', () => lamp.subscribe('button/+', { qos: 1 }, (error, granted) => {
  if (error || granted[0].qos !== 1) {
    console.error('subscribe', error, granted)
    process.exit(1)
  }
  const button = connect('Button')
  button.on('connect', () => {
    button.publish('button/0', 'once')
    button.publish('button/1', 'acknowledged', { qos: 1 })
  })
}))
