"""Request and reply with a service that runs as a function.

The Greengrass machine learning SDK calls local inference services this way.
"""

import collections

from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException

GreengrassServiceMessage = collections.namedtuple('GreengrassServiceMessage', ['context', 'payload'])
GreengrassServiceCallOutput = collections.namedtuple('GreengrassServiceCallOutput', ['response', 'error_response'])


class GreengrassRuntimeException(Exception):
    """The call failed outside the service: not delivered, timed out, crashed."""


class GreengrassServiceClient(object):
    def __init__(self, ipc_client=None):
        self._ipc = ipc_client or IPCClient()

    def call(self, address, message):
        """Send a message to a function's ARN and wait for its answer.

        An error that the service reported comes back as error_response; any
        other failure raises GreengrassRuntimeException.
        """
        try:
            invocation_id = self._ipc.post_work(address, message.payload, message.context)
            output = self._ipc.get_work_result(address, invocation_id)
        except IPCException as cause:
            raise GreengrassRuntimeException(str(cause))
        answer = GreengrassServiceMessage('', output.payload)
        if not output.func_err:
            return GreengrassServiceCallOutput(answer, None)
        if output.func_err == 'Handled':
            return GreengrassServiceCallOutput(None, answer)
        raise GreengrassRuntimeException(output.func_err)
