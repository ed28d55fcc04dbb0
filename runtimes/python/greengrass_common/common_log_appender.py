"""The way of a function's log lines to the core.

The core gives each process a pipe for every level and says in _GG_LOG_FD_<LEVEL>
which descriptor it is. It adds the time and the level; a line that is written
here begins with its origin: "<file>:<line>,<message>".
"""

import errno
import logging
import os
import sys
import threading

LOCALWATCH_FORMAT = '%(filename)s:%(lineno)d,%(message)s\n'

TRACE = 5

# Names of Greengrass levels and what Python calls them.
LEVELS = {
    'NOTSET': logging.NOTSET,
    'TRACE': TRACE,
    'DEBUG': logging.DEBUG,
    'INFO': logging.INFO,
    'WARN': logging.WARNING,
    'WARNING': logging.WARNING,
    'ERROR': logging.ERROR,
    'FATAL': logging.CRITICAL,
    'CRITICAL': logging.CRITICAL,
}

# Where lines go when the core gave no pipe for a level.
_STANDARD_FDS = {'TRACE': 1, 'DEBUG': 1, 'INFO': 1, 'WARN': 2, 'ERROR': 2, 'FATAL': 2}

# A line that grows past this many characters is written without its newline.
_LONGEST_LINE = 32 * 1024


def level_from_environment():
    """Return Python's number for LOG_LEVEL; every level when it is unset or unknown."""
    return LEVELS.get(os.getenv('LOG_LEVEL', '').upper(), logging.NOTSET)


def _level_name(levelno):
    if levelno >= logging.CRITICAL:
        return 'FATAL'
    if levelno >= logging.ERROR:
        return 'ERROR'
    if levelno >= logging.WARNING:
        return 'WARN'
    if levelno >= logging.INFO:
        return 'INFO'
    if levelno >= logging.DEBUG:
        return 'DEBUG'
    return 'TRACE'


def _write_all(fd, data):
    while data:
        try:
            data = data[os.write(fd, data):]
        except OSError as cause:
            if cause.errno != errno.EINTR:
                raise


class LocalwatchLogHandler(logging.Handler):
    """Writes records to the pipe of their level; CRITICAL is FATAL, WARNING is WARN."""

    def __init__(self):
        logging.Handler.__init__(self, level=level_from_environment())
        self.setFormatter(logging.Formatter(LOCALWATCH_FORMAT))
        self._fds = {}
        for name, standard in _STANDARD_FDS.items():
            try:
                self._fds[name] = int(os.environ['_GG_LOG_FD_' + name])
            except (KeyError, ValueError):
                self._fds[name] = standard

    def fd(self, levelno):
        """Return the descriptor that records of a level are written to."""
        return self._fds[_level_name(levelno)]

    def emit(self, record):
        try:
            text = self.format(record)
            if not isinstance(text, bytes):
                text = text.encode('utf-8', 'replace')
            if not text.endswith(b'\n'):
                text += b'\n'
            _write_all(self.fd(record.levelno), text)
        except Exception:
            # A full disk or a closed pipe must not take the function down.
            pass

    def flush(self):
        pass


class _ByteWriter(object):
    """What sys.stdout.buffer is to a StdioLogWriter."""

    def __init__(self, writer):
        self._writer = writer

    def write(self, data):
        self._writer.write(bytes(data).decode('utf-8', 'replace'))
        return len(data)

    def flush(self):
        self._writer.flush()


class StdioLogWriter(object):
    """Stands in for sys.stdout or sys.stderr: each line becomes a record.

    print() writes its arguments and the newline one by one, so text is held
    back until its line is complete, for each thread by itself.
    """

    encoding = 'utf-8'
    errors = 'replace'
    newlines = None
    closed = False
    mode = 'w'

    def __init__(self, level, handler):
        self.level = level
        self.handler = handler
        self.buffer = _ByteWriter(self)
        self.name = '<{0}>'.format(logging.getLevelName(level))
        self._pending = threading.local()

    def write(self, data):
        if isinstance(data, (bytes, bytearray)):
            data = bytes(data).decode('utf-8', 'replace')
        written = len(data)
        text = getattr(self._pending, 'text', '')
        if not text and data == '\n':
            return written
        if not text:
            self._pending.origin = self._caller()
        text += data
        lines = text.split('\n')
        rest = lines.pop()
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
            rest = ''
        for line in lines:
            self._emit(line)
        self._pending.text = rest
        return written

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        text = getattr(self._pending, 'text', '')
        if text:
            self._pending.text = ''
            self._emit(text)

    def fileno(self):
        return self.handler.fd(self.level)

    def isatty(self):
        return False

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False

    def _emit(self, line):
        if self.level < self.handler.level:
            return
        filename, lineno = self._pending.origin
        self.handler.handle(logging.LogRecord('stdio', self.level, filename, lineno, line, None, None))

    @staticmethod
    def _caller():
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == StdioLogWriter.write.__code__.co_filename:
            frame = frame.f_back
        if frame is None:
            return ('stdio', 0)
        return (frame.f_code.co_filename, frame.f_lineno)


# The name under which bundled copies of the earliest client import a handler.
local_cloudwatch_handler = LocalwatchLogHandler()
