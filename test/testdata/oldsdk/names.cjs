// What a name server does for a real client: AWS's names lead to the server.
const https = require('https')
const tls = require('tls')

https.Agent.prototype.createConnection = (options, ready) =>
  tls.connect({ ...options, servername: options.servername || options.host, host: '127.0.0.1', port: Number(process.env.SERVER_PORT) }, ready)
