"""The client of the core's function API (version 2016-11-01)."""

import collections
import json
import logging

try:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import ProxyHandler, Request, build_opener
except ImportError:  # Python 2
    from httplib import HTTPException
    from urllib2 import HTTPError, ProxyHandler, Request, URLError, build_opener

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
    """A call did not succeed; the text is what urllib said.

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


class IPCClient(object):
    """Posts and fetches work and results. It may be shared between threads."""

    def __init__(self, endpoint='localhost', port=None):
        """The port argument counts only where the core did not name its port."""
        self.endpoint = endpoint
        self.port = int(GG_DAEMON_PORT or port or DEFAULT_PORT)
        self.auth_token = AUTH_TOKEN
        # Whatever proxy the function uses, the core is on this machine.
        self._opener = build_opener(ProxyHandler({}))

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
        try:
            request = Request(url, body)
            request.get_method = lambda: method
            if self.auth_token is not None:
                request.add_header(HEADER_AUTH_TOKEN, _native(self.auth_token))
            for name, value in headers.items():
                request.add_header(name, value)
            response = self._opener.open(request)
            try:
                return response.read(), response.info()
            finally:
                response.close()
        except HTTPError as cause:
            failure = IPCException(str(cause))
            failure.code = cause.code
            try:
                failure.body = cause.read().decode('utf-8', 'replace')
            except Exception:
                failure.body = ''
            finally:
                cause.close()
            logger.error('%s %s failed with %s %s: %s', method, url, cause.code, cause.msg, failure.body.strip())
        except (URLError, HTTPException, EnvironmentError, ValueError) as cause:
            failure = IPCException(str(cause))
            logger.error('%s %s failed: %s', method, url, cause)
        raise failure
