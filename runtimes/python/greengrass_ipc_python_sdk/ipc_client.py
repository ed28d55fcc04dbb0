"""The client of the core's function API (version 2016-11-01)."""

import collections
import errno
import json
import logging
import os
import socket

try:
    from http.client import HTTPConnection, HTTPException
except ImportError:  # Python 2
    from httplib import HTTPConnection, HTTPException

from greengrass_common.env_vars import AUTH_TOKEN, GG_DAEMON_PORT, ROUTER_FUNCTION_ARN

HEADER_INVOCATION_ID = 'X-Amz-InvocationId'
HEADER_CLIENT_CONTEXT = 'X-Amz-Client-Context'
HEADER_AUTH_TOKEN = 'Authorization'
HEADER_INVOCATION_TYPE = 'X-Amz-Invocation-Type'
HEADER_FUNCTION_ERR_TYPE = 'X-Amz-Function-Error'
IPC_API_VERSION = '2016-11-01'
DEFAULT_PORT = 8000

logger = logging.getLogger(__name__)

WorkItem = collections.namedtuple('WorkItem', ['invocation_id', 'payload', 'client_context'])
GetWorkResultOutput = collections.namedtuple('GetWorkResultOutput', ['payload', 'func_err'])
InitializationResult = collections.namedtuple('InitializationResult', ['success', 'response'])


class IPCException(Exception):
    """A call did not succeed; the text is what urllib would say, as the original's did.

    code is the HTTP status, None when there was no answer at all; body is the
    text of the answer.
    """

    code = None
    body = ''


def _bytes(value):
    if value is None:
        return b''
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return value.encode('utf-8')


def _native(value):
    """Return a header or address as str: Python 2 must not mix it with unicode."""
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode('utf-8')
    return value.encode('utf-8')


class _Unanswered(Exception):
    """Not a byte came back; cause is the error of the socket, if there was one."""

    def __init__(self, cause=None):
        Exception.__init__(self, str(cause or 'the core closed the connection'))


class _Connections(object):
    """Kept connections to the core, shared by all clients and threads of the process.

    A call takes one out and puts it back when its answer was read whole. So calls at
    the same time, also those of a signal handler in the middle of another call, never
    share one, and one that was interrupted is not used again.
    """

    MOST = 16

    def __init__(self):
        self._idle = []
        self._pid = os.getpid()

    def take(self, address):
        """Return a kept connection, or None."""
        if self._pid != os.getpid():
            # A fork took them along; they are the parent's.
            self._idle, self._pid = [], os.getpid()
        while True:
            try:
                of, connection = self._idle.pop()
            except IndexError:
                return None
            if of == address:
                return connection
            connection.close()

    def put(self, address, connection):
        if len(self._idle) < self.MOST:
            self._idle.append((address, connection))
        else:
            connection.close()


_connections = _Connections()


def _answered(connection):
    """Wait for the first byte of an answer; _Unanswered when none comes any more."""
    while True:
        try:
            if connection.sock.recv(1, socket.MSG_PEEK):
                return
        except EnvironmentError as cause:
            if cause.errno == errno.EINTR:  # Python 2
                continue
            raise _Unanswered(cause)
        raise _Unanswered()


def _exchange(connection, method, path, body, headers):
    """Send a request; return (response, body), or raise _Unanswered."""
    failure = None
    try:
        connection.request(method, path, body, headers)
    except EnvironmentError as cause:
        failure = cause  # What came back before may say why.
    if connection.sock is None:
        raise _Unanswered(failure)
    _answered(connection)
    response = connection.getresponse()
    return response, response.read()


class IPCClient(object):
    """Posts and fetches work and results. It may be shared between threads."""

    def __init__(self, endpoint='localhost', port=None):
        """The port argument counts only where the core did not name its port."""
        self.endpoint = endpoint
        self.port = int(GG_DAEMON_PORT or port or DEFAULT_PORT)
        self.auth_token = AUTH_TOKEN

    def set_gg_daemon_port(self, port):
        self.port = int(port)

    def post_work(self, function_arn, input_bytes, client_context, invocation_type='RequestResponse'):
        """Invoke a function and return the invocation's id."""
        _, headers = self._call('POST', self._function_url(function_arn), _bytes(input_bytes), {
            HEADER_CLIENT_CONTEXT: _native(client_context),
            HEADER_INVOCATION_TYPE: _native(invocation_type),
        })
        return headers.get(HEADER_INVOCATION_ID)

    def get_work_result(self, function_arn, invocation_id):
        """Wait for an invocation to end. func_err is '' when it succeeded."""
        if ROUTER_FUNCTION_ARN and function_arn == ROUTER_FUNCTION_ARN:
            return GetWorkResultOutput(payload=b'', func_err='')
        body, headers = self._call('GET', self._function_url(function_arn), None, {
            HEADER_INVOCATION_ID: _native(invocation_id),
        })
        return GetWorkResultOutput(payload=body, func_err=headers.get(HEADER_FUNCTION_ERR_TYPE) or '')

    def get_work(self, function_arn):
        """Wait for the function's next work item."""
        body, headers = self._call('GET', self.work_url(function_arn), None, {})
        return WorkItem(
            invocation_id=headers.get(HEADER_INVOCATION_ID),
            payload=body,
            client_context=headers.get(HEADER_CLIENT_CONTEXT) or '')

    def post_work_result(self, function_arn, work_item):
        """Answer a work item: its payload is the result."""
        self._call('POST', self.work_url(function_arn), _bytes(work_item.payload), {
            HEADER_INVOCATION_ID: _native(work_item.invocation_id),
        })

    def post_handler_err(self, function_arn, invocation_id, handler_err):
        """Answer a work item with the error that its handler raised."""
        body = json.dumps({'errorMessage': handler_err}).encode('utf-8')
        self._call('POST', self.work_url(function_arn), body, {
            HEADER_INVOCATION_ID: _native(invocation_id),
            HEADER_FUNCTION_ERR_TYPE: 'Handled',
        })

    def put_initialization_result(self, function_arn, func_error=None):
        """Say that the function is ready, or with what error it is not."""
        result = InitializationResult(success=not func_error, response=func_error or '')
        body = json.dumps({'Success': result.success, 'Response': result.response}).encode('utf-8')
        self._call('PUT', self._function_url(function_arn) + '/initialized', body, {})

    def work_url(self, function_arn):
        return self._function_url(function_arn) + '/work'

    def _function_url(self, function_arn):
        return _native('http://{0}:{1}/{2}/functions/{3}'.format(
            self.endpoint, self.port, IPC_API_VERSION, _native(function_arn)))

    def _call(self, method, url, body, headers):
        """Return (body, headers) of a 2xx answer; IPCException for all else."""
        if self.auth_token is not None:
            headers[HEADER_AUTH_TOKEN] = _native(self.auth_token)
        try:
            response, text = self._send(method, url, body, headers)
        except (_Unanswered, HTTPException, EnvironmentError, ValueError) as cause:
            failure = IPCException('<urlopen error {0}>'.format(cause))
            logger.error('%s %s failed: %s', method, url, cause)
            raise failure
        if 200 <= response.status < 300:
            return text, response.msg
        failure = IPCException('HTTP Error {0}: {1}'.format(response.status, response.reason))
        failure.code = response.status
        failure.body = text.decode('utf-8', 'replace')
        logger.error('%s %s failed with %s %s: %s', method, url, response.status, response.reason, failure.body.strip())
        raise failure

    def _send(self, method, url, body, headers):
        """Return (response, body) of whatever answer; one that is not to be had is an error.

        The core closes kept connections that nobody used for a while. A call that
        met one of these has not arrived, so it is sent once more over a new one.
        """
        address = (_native(self.endpoint), self.port)
        path = url[url.index('/', len('http://')):]
        kept = _connections.take(address)
        if kept is not None:
            try:
                return self._over(address, kept, method, path, body, headers)
            except _Unanswered:
                pass
        # Whatever proxy the function uses, the core is on this machine.
        fresh = HTTPConnection(address[0], address[1], timeout=None)
        return self._over(address, fresh, method, path, body, headers)

    @staticmethod
    def _over(address, connection, method, path, body, headers):
        again = False
        try:
            response, text = _exchange(connection, method, path, body, headers)
            again = not response.will_close
            return response, text
        finally:
            if again:
                _connections.put(address, connection)
            else:
                connection.close()
