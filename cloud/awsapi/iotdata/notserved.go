package iotdata

// notServed are the other operations of the data plane (API reference), for refusals
// that name them.
const notServed = `
DeleteConnection DELETE /connections/{clientId}
GetRetainedMessage GET /retainedMessage/{topic+}
ListRetainedMessages GET /retainedMessage
`
