"""The earlier name of the log handler.

Functions that were packaged for the first cores import it; the two arguments
named a log group, which the core now derives from the worker itself.
"""

from greengrass_common.common_log_appender import LocalwatchLogHandler


class LocalCloudwatchLogHandler(LocalwatchLogHandler):
    def __init__(self, component_type=None, component_name=None, *args, **kwargs):
        LocalwatchLogHandler.__init__(self)
        self.component_type = component_type
        self.component_name = component_name

    def write(self, data):
        """Log text that a program prints through the handler, at INFO."""
        import logging
        text = str(data)
        if text != '\n':
            self.handle(logging.LogRecord('stdio', logging.INFO, 'stdio', 0, text, None, None))
