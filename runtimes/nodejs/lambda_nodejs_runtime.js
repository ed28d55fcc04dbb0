'use strict';

/*
 * Runs one Node.js function: loads its handler, then works off its queue.
 *
 * Started by the core as `node lambda_nodejs_runtime.js --handler=<module>.<function>`
 * with the function's code directory as working directory.
 */

const fs = require('fs');
const path = require('path');
const common = require('aws-greengrass-common-js');
const IPCClient = require('aws-greengrass-ipc-sdk-js');

const JSON_ENCODING = common.encodingType.encodingTypeJSON;
const BINARY_ENCODING = common.encodingType.encodingTypeBinary;

const logger = new common.logging.LocalWatchLogger();
const ipc = new IPCClient(common.envVars.AUTH_TOKEN);
const functionArn = common.envVars.MY_FUNCTION_ARN;
const encoding = common.envVars.ENCODING_TYPE;

// current is the item that the handler works on, null between two.
let current = null;
let handler;

function describe(cause) {
    try {
        return cause instanceof Error ? cause.message : String(cause);
    } catch (_) { // an error of the function's own that cannot say what it is
        return 'unknown error';
    }
}

// withRetries calls the core until it answers, or is not worth another attempt.
function withRetries(call, callback) {
    const isTransient = (err) => err.statusCode === undefined || err.statusCode >= 500 || err.statusCode === 429;
    new common.BackoffRetry(call, null, callback, 50, 2, 500, 10, 3000, true, isTransient).tryOrThrowError();
}

function stop(cause) {
    logger.fatal(`Stopping because the core cannot be reached: ${describe(cause)}`);
    process.exit(1);
}

function decodeEvent(payload) {
    if (encoding === BINARY_ENCODING) {
        return payload;
    }
    return payload.length > 0 ? JSON.parse(payload.toString()) : {};
}

function encodeResult(result) {
    if (encoding === JSON_ENCODING) {
        const text = JSON.stringify(result);
        return text === undefined ? 'null' : text;
    }
    if (result === undefined || result === null || typeof result === 'string' || Buffer.isBuffer(result) ||
        ArrayBuffer.isView(result) || result instanceof ArrayBuffer) {
        return result;
    }
    throw new TypeError(`a binary function returns a Buffer or text, not ${typeof result}`);
}

function decodeClientContext(header) {
    let fields = {};
    if (header) {
        try {
            fields = JSON.parse(Buffer.from(header, 'base64').toString());
            if (typeof fields !== 'object' || fields === null) {
                throw new Error('it is not a JSON object');
            }
        } catch (cause) {
            logger.error(`Ignoring a client context that cannot be read: ${describe(cause)}`);
            fields = {};
        }
    }
    // Deployed code reads Custom, newer code custom.
    const custom = fields.custom === undefined || fields.custom === null ? {} : fields.custom;
    return {client: fields.client || {}, Custom: custom, custom, env: fields.env || {}};
}

// errorBody is what a caller gets of an error.
function errorBody(cause) {
    if (cause === undefined || cause === null) {
        return {errorMessage: null};
    }
    if (typeof cause !== 'object') {
        return {errorMessage: describe(cause)};
    }
    const body = {errorMessage: typeof cause.message === 'string' ? cause.message : JSON.stringify(cause)};
    if (cause.code !== undefined || cause.name !== undefined) {
        body.errorType = cause.code === undefined ? cause.name : cause.code;
    }
    if (typeof cause.stack === 'string') {
        body.stackTrace = cause.stack.split('\n').slice(1).map((line) => line.trim());
    }
    return body;
}

// encodeError is that in JSON, with a prefix of its message.
function encodeError(cause, prefix) {
    try {
        const body = errorBody(cause);
        if (prefix) {
            body.errorMessage = prefix + body.errorMessage;
        }
        return JSON.stringify(body);
    } catch (_) { // members that JSON cannot hold
        return JSON.stringify({errorMessage: (prefix || '') + describe(cause)});
    }
}

// Item is one invocation. The first end of it counts.
class Item {
    constructor(id) {
        this.id = id;
        this.ended = false;
    }

    succeed(result) {
        if (this.ended) {
            return;
        }
        let payload;
        try {
            payload = encodeResult(result);
        } catch (cause) {
            this.fail(cause);
            return;
        }
        this.answer((done) => ipc.postWorkResult(functionArn, payload, this.id, done));
    }

    fail(cause) {
        if (this.ended) {
            return;
        }
        logger.error('The handler reported an error:', cause);
        this.refuse(encodeError(cause));
    }

    refuse(body) {
        this.answer((done) => ipc.postHandlerErr(functionArn, body, this.id, done));
    }

    answer(call) {
        this.ended = true;
        logger.info(`End RequestId: ${this.id}`);
        withRetries(call, (err) => {
            if (err && (err.statusCode === undefined || err.statusCode === 401 || err.statusCode === 403)) {
                stop(err);
            } else if (err) {
                // The core gave the item up meanwhile, or refuses this answer: neither
                // is a reason to stop working.
                logger.error(`The core did not take the answer: ${describe(err)}`);
            }
            current = null;
            next();
        });
    }
}

// next waits for an item and hands it to the handler, for ever.
function next() {
    logger.debug(`Getting work for function [${functionArn}] from ${ipc.workUrl(functionArn)}`);
    withRetries((done) => ipc.getWork(functionArn, done), (err, payload, id, clientContext) => {
        if (err) {
            stop(err);
        }
        current = new Item(id);
        logger.info(`START RequestId: ${id}`);
        run(current, payload, clientContext);
    });
}

function run(item, payload, clientContext) {
    let event;
    try {
        event = decodeEvent(payload);
    } catch (cause) {
        const message = `Failed to parse the payload as JSON: ${describe(cause)}`;
        logger.error(message);
        item.refuse(JSON.stringify({errorMessage: message, errorType: 'SyntaxError'}));
        return;
    }
    const done = (err, result) => {
        if (err === undefined || err === null) {
            item.succeed(result);
        } else {
            item.fail(err);
        }
    };
    const fields = new common.FunctionArnFields(functionArn);
    const context = {
        invokedFunctionArn: functionArn,
        awsRequestId: item.id,
        functionName: fields.name,
        functionVersion: fields.qualifier,
        clientContext: decodeClientContext(clientContext),
        done,
        succeed: (result) => item.succeed(result),
        fail: (cause) => item.fail(cause),
    };
    let returned;
    try {
        returned = handler(event, context, done);
    } catch (cause) {
        if (!item.ended) {
            logger.error('Uncaught exception in the handler:', cause);
            item.refuse(encodeError(cause, 'Failed to invoke handler: '));
        }
        return;
    }
    if (returned && typeof returned.then === 'function') {
        returned.then((result) => item.succeed(result), (cause) => item.fail(cause));
    }
}

// A handler that neither calls back nor leaves anything to wait for has ended.
process.on('beforeExit', () => {
    if (current) {
        current.succeed(null);
    }
});

// checkInterfaceVersion refuses an SDK that this core is too old for; no SDK is no
// problem.
function checkInterfaceVersion() {
    let sdk;
    try {
        sdk = require('aws-greengrass-core-sdk').GreengrassInterfaceVersion || '1.0';
    } catch (cause) {
        // One that is there but does not load is told of where the function loads it.
        return;
    }
    const core = common.envVars.GGC_MAX_INTERFACE_VERSION;
    const has = common.versionParser.parseVersion(sdk);
    const most = common.versionParser.parseVersion(core);
    if (has[0] !== most[0] || has[1] > most[1]) {
        throw new Error(`the Greengrass Core SDK in this package has interface version ${sdk}, which is incompatible with ` +
            `this core: it supports up to ${core}. Package the function with an older SDK`);
    }
}

// load calls back with the module of a name: a path below the package, or one that
// NODE_PATH leads to.
function load(name, callback) {
    const local = path.resolve(name);
    if (fs.existsSync(`${local}.mjs`)) {
        loadESModule(`${local}.mjs`, callback);
        return;
    }
    let file;
    try {
        file = require.resolve(local);
    } catch (_) {
        file = name;
    }
    let loaded;
    try {
        loaded = require(file);
    } catch (cause) {
        if (cause && cause.code === 'ERR_REQUIRE_ESM') {
            loadESModule(file, callback);
        } else {
            callback(cause);
        }
        return;
    }
    callback(null, loaded);
}

function loadESModule(file, callback) {
    let url;
    let load;
    try {
        url = require('url').pathToFileURL(file).href;
        load = require('./import');
    } catch (_) {
        callback(new Error(`${file} is an ES module, which Node.js ${process.version} does not run`));
        return;
    }
    load(url).then((loaded) => callback(null, loaded), callback);
}

// importHandler calls back with the function that "<module>.<function>" names.
function importHandler(name, callback) {
    const dot = name.lastIndexOf('.');
    if (dot <= 0 || dot === name.length - 1) {
        callback(new Error('the handler must have the form <module>.<function>'));
        return;
    }
    const member = name.slice(dot + 1);
    load(name.slice(0, dot), (err, loaded) => {
        if (err) {
            callback(err);
        } else if (!loaded || typeof loaded[member] !== 'function') {
            callback(new Error(`"${member}" in module "${name.slice(0, dot)}" is not a function`));
        } else {
            callback(null, (event, context, done) => loaded[member](event, context, done));
        }
    });
}

function giveUp(message, cause) {
    logger.fatal(message);
    if (cause && cause.stack) {
        logger.fatal(cause.stack);
    }
    if (!functionArn || !common.envVars.AUTH_TOKEN) {
        process.exit(1);
    }
    // Whether the core takes it or not, the exit status says the same.
    ipc.putInitializationResult(functionArn, message, () => process.exit(1));
}

function checkEnvironment() {
    for (const name of ['MY_FUNCTION_ARN', 'AWS_CONTAINER_AUTHORIZATION_TOKEN', 'ENCODING_TYPE', 'GGC_MAX_INTERFACE_VERSION']) {
        if (!process.env[name]) {
            throw new Error(`${name} is not set; only the core can start this program`);
        }
    }
    if (encoding !== JSON_ENCODING && encoding !== BINARY_ENCODING) {
        throw new Error(`ENCODING_TYPE is neither json nor binary: ${encoding}`);
    }
}

// Arguments of the function itself may follow; they stay in process.argv.
function main(option) {
    if (!option || !option.startsWith('--handler=')) {
        console.error('usage: lambda_nodejs_runtime.js --handler=<module>.<function> [argument...]');
        process.exit(1);
    }
    const name = option.slice('--handler='.length);
    common.logging.redirectOutput();
    try {
        checkEnvironment();
        checkInterfaceVersion();
    } catch (cause) {
        giveUp(`Failed to initialize Lambda runtime due to exception: ${describe(cause)}`, cause);
        return;
    }
    importHandler(name, (err, found) => {
        if (err) {
            giveUp(`Failed to import handler function "${name}" due to exception: ${describe(err)}`, err);
            return;
        }
        // Not before: until its code is loaded a function may hold up all else, this
        // signal too. A function with a handler of its own ends by itself.
        process.on('SIGTERM', () => {
            if (process.listenerCount('SIGTERM') === 1) {
                process.exit(0);
            }
        });
        handler = found;
        logger.info(`Running [${functionArn}]`);
        next();
    });
}

main(process.argv[2]);
