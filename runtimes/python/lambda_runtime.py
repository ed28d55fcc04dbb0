"""Runs one Python function: imports its handler, then works off its queue.

Started by the core as `python -u lambda_runtime.py --handler=<module>.<function>`
with the function's code directory as working directory.
"""

import atexit
import base64
import importlib
import json
import logging
import os
import random
import signal
import sys
import time

from greengrass_common import common_log_appender, encoding_type, env_vars
from greengrass_common.function_arn_fields import FunctionArnFields
from greengrass_common.parse_version import parse_version
from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException, WorkItem

# Back-off of a call that the core did not answer: first pause and longest
# pause in seconds, attempts, and seconds for all of them together.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.5
ATTEMPTS = 10
TOTAL = 3.0

logger = logging.getLogger('lambda_runtime')


class InitializationError(Exception):
    """The function cannot take work; the text says why."""


class Client(object):
    """The mobile client that an invocation came from, where there is one."""

    FIELDS = ('installation_id', 'app_title', 'app_version_name', 'app_version_code', 'app_version_package_name')

    def __init__(self, fields):
        for name in self.FIELDS:
            setattr(self, name, fields.get(name))


class ClientContext(object):
    """What the caller said beside the payload."""

    def __init__(self, client=None, custom=None, env=None):
        self.client = client
        self.custom = custom
        self.env = env


class LambdaContext(object):
    """The second argument of a handler."""

    def __init__(self, function_arn, invocation_id, client_context):
        fields = FunctionArnFields(function_arn)
        self.invoked_function_arn = function_arn
        self.function_name = fields.name
        self.function_version = fields.qualifier
        self.aws_request_id = invocation_id
        self.client_context = client_context
        self.identity = None


def decode_client_context(header):
    """Return a ClientContext, or None when there is none that can be read."""
    if not header:
        return None
    try:
        fields = json.loads(base64.b64decode(header).decode('utf-8'))
        if not isinstance(fields, dict):
            raise ValueError('it is not a JSON object')
    except (TypeError, ValueError) as cause:
        logger.error('Ignoring a client context that cannot be read: %s', cause)
        return None
    client = fields.get('client')
    return ClientContext(
        client=Client(client) if isinstance(client, dict) else None,
        custom=fields.get('custom'),
        env=fields.get('env'))


def decode_event(payload, encoding):
    if encoding == encoding_type.BINARY:
        return payload
    if not payload:
        return {}
    return json.loads(payload.decode('utf-8'))


def encode_result(result, encoding):
    if encoding != encoding_type.BINARY:
        return json.dumps(result).encode('utf-8')
    if result is None:
        return b''
    if isinstance(result, memoryview):
        return result.tobytes()
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    if hasattr(result, 'encode'):
        return result.encode('utf-8')
    raise TypeError('a binary function returns bytes or text, not {0}'.format(type(result).__name__))


def check_interface_version():
    """Refuse an SDK that this core is too old for; no SDK is no problem."""
    try:
        import greengrasssdk
    except ImportError:
        return
    core = env_vars.GGC_MAX_INTERFACE_VERSION
    if not core:
        raise InitializationError('GGC_MAX_INTERFACE_VERSION is not set; only the core can start this program')
    sdk = getattr(greengrasssdk, 'INTERFACE_VERSION', '1.0')
    sdk_major, sdk_minor = parse_version(sdk)
    core_major, core_minor = parse_version(core)
    if sdk_major != core_major or sdk_minor > core_minor:
        raise InitializationError(
            'the Greengrass Core SDK in this package has interface version {0}, which is incompatible with '
            'this core: it supports up to {1}. Package the function with an older SDK'.format(sdk, core))


def import_handler(name):
    """Return the function that "<module>.<function>" names."""
    module, dot, function = name.rpartition('.')
    if not dot or not module or not function:
        raise InitializationError('the handler must have the form <module>.<function>')
    imported = importlib.import_module(module.strip('/').replace('/', '.'))
    handler = getattr(imported, function)
    if not callable(handler):
        raise InitializationError('"{0}" in module "{1}" is not a function'.format(function, module))
    return handler


def transient(failure):
    return failure.code is None or failure.code >= 500 or failure.code == 429


def with_retries(call, sleep=time.sleep):
    """Call until it succeeds, fails for good or runs out of attempts."""
    pause = FIRST_PAUSE
    waited = 0.0
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except IPCException as failure:
            if not transient(failure) or attempt == ATTEMPTS or waited >= TOTAL:
                raise
        duration = random.uniform(pause / 2, pause)
        sleep(duration)
        waited += duration
        pause = min(pause * 2, LONGEST_PAUSE)


class Runtime(object):
    """The work loop of one process."""

    def __init__(self, ipc, function_arn, encoding, handler):
        self.ipc = ipc
        self.function_arn = function_arn
        self.encoding = encoding
        self.handler = handler

    def run(self):
        """Work until the core cannot be reached any more; IPCException then."""
        logger.info('Running [%s]', self.function_arn)
        level = logging.INFO
        while True:
            logger.log(level, 'Getting work for function [%s] from %s',
                       self.function_arn, self.ipc.work_url(self.function_arn))
            level = logging.DEBUG
            self.work(with_retries(lambda: self.ipc.get_work(self.function_arn)))

    def work(self, item):
        """Run the handler for one item and answer it."""
        try:
            event = decode_event(item.payload, self.encoding)
        except ValueError as cause:
            message = u'Failed to parse the payload as JSON: {0}'.format(describe(cause))
            logger.error('%s', message)
            self.answer(lambda: self.ipc.post_handler_err(self.function_arn, item.invocation_id, message))
            return
        context = LambdaContext(self.function_arn, item.invocation_id, decode_client_context(item.client_context))
        try:
            result = encode_result(self.handler(event, context), self.encoding)
        except Exception as cause:
            message = describe(cause)
            logger.exception('Uncaught exception in the handler: %s', message)
            self.answer(lambda: self.ipc.post_handler_err(self.function_arn, item.invocation_id, message))
            return
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        done = WorkItem(item.invocation_id, result, None)
        self.answer(lambda: self.ipc.post_work_result(self.function_arn, done))

    def answer(self, call):
        try:
            with_retries(call)
        except IPCException as failure:
            if failure.code is None or failure.code in (401, 403):
                raise
            # The core gave the item up meanwhile, or refuses this answer:
            # neither is a reason to stop working.
            logger.error('The core did not take the answer: %s %s', failure, failure.body.strip())


def describe(cause):
    try:
        text = str(cause)
    except UnicodeError:  # Python 2, unicode outside ASCII
        return repr(cause)
    except Exception:  # An exception of the function's own that cannot say what it is.
        return type(cause).__name__
    if isinstance(text, bytes):  # Python 2, any bytes
        return text.decode('utf-8', 'replace')
    return text


def redirect_output():
    """Send log records, stdout and stderr to the core's log pipes."""
    logging.addLevelName(common_log_appender.TRACE, 'TRACE')
    handler = common_log_appender.LocalwatchLogHandler()
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(common_log_appender.level_from_environment())
    sys.stdout = common_log_appender.StdioLogWriter(logging.INFO, handler)
    sys.stderr = common_log_appender.StdioLogWriter(logging.ERROR, handler)


def terminate(signum, frame):
    sys.exit(0)


def start(handler_name):
    """Run the function; it does not return but by an exception."""
    ipc = IPCClient()
    try:
        for name in ('MY_FUNCTION_ARN', 'AWS_CONTAINER_AUTHORIZATION_TOKEN', 'ENCODING_TYPE'):
            if not os.getenv(name):
                raise InitializationError('{0} is not set; only the core can start this program'.format(name))
        if env_vars.ENCODING_TYPE not in (encoding_type.JSON, encoding_type.BINARY):
            raise InitializationError('ENCODING_TYPE is neither json nor binary: ' + env_vars.ENCODING_TYPE)
        check_interface_version()
    except Exception as cause:
        give_up(ipc, u'Failed to initialize Lambda runtime due to exception: {0}'.format(describe(cause)))
    try:
        handler = import_handler(handler_name)
    except Exception as cause:
        give_up(ipc, u'Failed to import handler function "{0}" due to exception: {1}'.format(
            handler_name, describe(cause)))
    try:
        Runtime(ipc, env_vars.MY_FUNCTION_ARN, env_vars.ENCODING_TYPE, handler).run()
    except IPCException as failure:
        logger.critical('Stopping because the core cannot be reached: %s', failure)
        sys.exit(1)


def give_up(ipc, message):
    logger.critical('%s', message, exc_info=True)
    if env_vars.MY_FUNCTION_ARN and env_vars.AUTH_TOKEN:
        try:
            ipc.put_initialization_result(env_vars.MY_FUNCTION_ARN, message)
        except IPCException:
            pass  # The exit status says the same.
    sys.exit(1)


def exit_status(cause):
    """Return the status that Python itself would exit with."""
    if cause.code is None:
        return 0
    if isinstance(cause.code, int):
        return cause.code & 0xff
    logger.critical('%s', cause.code)
    return 1


def main(arguments=None):
    # Arguments of the function itself may follow; they stay in sys.argv.
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or not arguments[0].startswith('--handler='):
        sys.exit('usage: lambda_runtime.py --handler=<module>.<function> [argument...]')
    handler_name = arguments[0][len('--handler='):]
    redirect_output()
    signal.signal(signal.SIGTERM, terminate)
    status = 1
    try:
        start(handler_name)
    except SystemExit as cause:
        status = exit_status(cause)
    except BaseException:
        logger.critical('The function ends because of an exception', exc_info=True)
    # Threads and timers that the function left behind would hold the process
    # for ever, so it ends without waiting for them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run_exit_functions = getattr(atexit, '_run_exitfuncs')
        run_exit_functions()
    except BaseException:
        logger.critical('An exit function failed', exc_info=True)
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)


if __name__ == '__main__':
    main()
