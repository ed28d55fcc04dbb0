"""The envelope that early connectors put around a payload."""

import base64
import json


class GreengrassMessage(object):
    """A payload (bytes) with a map of extensions (JSON values)."""

    def __init__(self, payload=None, extension_map=None, **extensions):
        self.payload = payload
        self.extension_map = dict(extension_map or {})
        self.extension_map.update(extensions)

    def encode(self):
        """Return the envelope as JSON text, the payload in base64."""
        payload = self.payload
        if payload is None:
            payload = b''
        if not isinstance(payload, bytes):
            payload = payload.encode('utf-8')
        return json.dumps({
            'Payload': base64.b64encode(payload).decode('ascii'),
            'ExtensionMap_': self.extension_map,
        })

    def decode(self, encoded):
        """Take payload and extensions from an envelope. ValueError if it is none."""
        if isinstance(encoded, (bytes, bytearray)):
            encoded = bytes(encoded).decode('utf-8')
        try:
            fields = json.loads(encoded)
            self.payload = base64.b64decode(fields['Payload'] or '')
        except (KeyError, TypeError, ValueError) as cause:
            raise ValueError('not a Greengrass message: {0}'.format(cause))
        self.extension_map = fields.get('ExtensionMap_') or {}
        return self
