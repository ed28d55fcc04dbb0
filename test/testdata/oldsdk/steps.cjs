// The AWS SDK for JavaScript v2 as scripts of its time use it: it knows nothing of
// an endpoint but the Region.
const AWS = require('aws-sdk')

async function main() {
  const greengrass = new AWS.Greengrass()
  const group = await greengrass.createGroup({ Name: 'by JavaScript' }).promise()
  const groups = await greengrass.listGroups().promise()
  const account = await new AWS.STS().getCallerIdentity().promise()
  const thing = await new AWS.Iot().createThing({ thingName: 'JavaScript_Core' }).promise()
  const functions = await new AWS.Lambda().listFunctions().promise()
  const secrets = await new AWS.SecretsManager().listSecrets().promise()
  const s3 = new AWS.S3()
  await s3.createBucket({ Bucket: 'javascript' }).promise()
  await s3.putObject({ Bucket: 'javascript', Key: 'a/b', Body: 'content' }).promise()
  const object = await s3.getObject({ Bucket: 'javascript', Key: 'a/b' }).promise()
  await new AWS.IotData({ endpoint: `data.iot.${process.env.AWS_REGION}.amazonaws.com` }).publish({ topic: 'mill/8', payload: '{}' }).promise()
  console.log(JSON.stringify({
    account: account.Account, group: groups.Groups.some((g) => g.Id === group.Id), thing: thing.thingName,
    functions: functions.Functions.length, secrets: secrets.SecretList.length, object: object.Body.toString(),
  }))
}

main().catch((err) => { console.error(err); process.exit(1) })
