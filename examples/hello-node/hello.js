'use strict';

/*
 * Publishes a greeting every two seconds, and answers what it is sent.
 *
 * Runs long-lived ("Pinned": true). It speaks to the core through the modules that
 * every core supplies; a function that bundles AWS's aws-greengrass-core-sdk would
 * write new IotData().publish({topic, payload}, callback) instead.
 */

const {envVars} = require('aws-greengrass-common-js');
const IPCClient = require('aws-greengrass-ipc-sdk-js');

const TOPIC = process.env.TOPIC || 'hello/world';
const ipc = new IPCClient(envVars.AUTH_TOKEN);
let count = 0;

function publish(topic, message) {
    const context = Buffer.from(JSON.stringify({custom: {source: envVars.MY_FUNCTION_ARN, subject: topic}}));
    ipc.postWork(envVars.ROUTER_FUNCTION_ARN, JSON.stringify(message), context.toString('base64'), 'Event', (err) => {
        if (err) {
            console.error(`Publishing to ${topic} failed:`, err);
        }
    });
}

function greet() {
    count += 1;
    publish(TOPIC, {message: 'Hello from a Greengrass function', count, thing: process.env.AWS_IOT_THING_NAME});
}

greet();
setInterval(greet, 2000);

exports.handler = (event, context, callback) => callback(null, {echo: event});
