// Two devices as the AWS IoT Device SDK for JavaScript v2 makes them. Each asks where its
// core is and connects to it with the authority that it is given. One subscribes to
// "button/+", the other publishes with QoS 0 and 1. What was found and what arrives is
// printed.
const { greengrass, io, iot, mqtt } = require('aws-iot-device-sdk-v2')
const [host, folder] = process.argv.slice(2)

const file = (name) => `${folder}/${name}`
const bootstrap = new io.ClientBootstrap()
const timer = setTimeout(() => { console.error('nothing came within a minute'); process.exit(1) }, 60000)

async function discover (name) {
  const options = io.TlsContextOptions.create_client_with_mtls_from_path(file(`${name}.cert.pem`), file(`${name}.private.key`))
  options.override_default_trust_store_from_path(undefined, file('root.ca.pem'))
  const socket = new io.SocketOptions(io.SocketType.STREAM, io.SocketDomain.IPV4, 10000)
  const client = new greengrass.DiscoveryClient(bootstrap, socket, new io.ClientTlsContext(options), 'eu-west-1', host)
  const found = await client.discover(name)
  return found.gg_groups[0]
}

// connect tries the places of the core one after the other.
async function connect (name) {
  const group = await discover(name)
  let last
  for (const place of group.cores[0].connectivity) {
    const config = iot.AwsIotMqttConnectionConfigBuilder.new_mtls_builder_from_path(file(`${name}.cert.pem`), file(`${name}.private.key`))
      .with_certificate_authority(group.certificate_authorities[0]).with_client_id(name).with_clean_session(true)
      .with_endpoint(place.host_address).with_port(place.port).build()
    const connection = new mqtt.MqttClient(bootstrap).new_connection(config)
    try {
      await connection.connect()
      return { connection, group, place }
    } catch (error) {
      last = error
    }
  }
  throw last
}

async function main () {
  const lamp = await connect('Lamp')
  const got = {}
  const arrived = new Promise((resolve) => {
    lamp.connection.subscribe('button/+', mqtt.QoS.AtLeastOnce, (topic, payload) => {
      got[topic] = new TextDecoder().decode(payload)
      if (Object.keys(got).length === 2) resolve()
    }).then(async () => {
      const button = await connect('Button')
      await button.connection.publish('button/0', 'once', mqtt.QoS.AtMostOnce)
      await button.connection.publish('button/1', 'acknowledged', mqtt.QoS.AtLeastOnce)
    }).catch(failed)
  })
  await arrived
  console.log(JSON.stringify({ group: lamp.group.gg_group_id, core: lamp.group.cores[0].thing_arn, host: lamp.place.host_address, port: lamp.place.port, got }))
  clearTimeout(timer)
  process.exit(0)
}

function failed (error) {
  console.error(error)
  process.exit(1)
}

main().catch(failed)
