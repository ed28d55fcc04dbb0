package runtimes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/testkit"
)

// TestPythonModules calls the modules as the published SDKs do.
func TestPythonModules(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/2016-11-01/functions/arn:aws:lambda:::function:Missing":
			http.Error(w, "no such function", http.StatusNotFound)
		case r.Method == http.MethodPost:
			w.Header().Set("X-Amz-InvocationId", "id-"+r.Header.Get("X-Amz-Invocation-Type"))
			w.Header().Set("X-Seen", string(body))
			if string(body) == "" && r.ContentLength != 0 {
				w.WriteHeader(http.StatusTeapot)
			}
		case r.Header.Get("X-Amz-InvocationId") == "failed":
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			io.WriteString(w, `{"errorMessage": "late"}`)
		case r.Header.Get("X-Amz-InvocationId") == "handled":
			w.Header().Set("X-Amz-Function-Error", "Handled")
			io.WriteString(w, `{"errorMessage": "mine"}`)
		default:
			w.Header().Set("X-Amz-Function-Error", "")
			io.WriteString(w, "r\xc3\xa4sult")
		}
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "check.py")
	if err := os.WriteFile(script, []byte(moduleChecks), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := extracted(t)
	for _, python := range pythons(t) {
		t.Run(version(t, python), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(python, script)
			cmd.Env = []string{
				"PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + filepath.Join(dir, "python"),
				"GG_DAEMON_PORT=" + address.Port(), "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic eA==",
				"ROUTER_FUNCTION_ARN=arn:aws:lambda:::function:GGRouter", "http_proxy=http://127.0.0.1:9",
				"_GG_LOG_FD_FATAL=2", "_GG_LOG_FD_WARN=1",
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

// TestPythonConnections: what becomes of the connections that the client keeps.
func TestPythonConnections(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	// Answers contain the connection's number and how many it answered before. Requests say
	// in their bodies what else to do: close without a byte, or after some, or raise a
	// signal in the process of that id and wait for it to make another connection.
	var connections atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			number := connections.Add(1)
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for seen := 0; ; seen++ {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					body, _ := io.ReadAll(request.Body)
					switch {
					case string(body) == "close once" && seen > 0, string(body) == "close":
						return
					case string(body) == "half":
						io.WriteString(conn, "HTTP/1.1 2")
						return
					}
					if pid, err := strconv.Atoi(string(body)); err == nil {
						syscall.Kill(pid, syscall.SIGUSR1)
						timeout := time.After(testkit.Patience)
						for connections.Load() == number {
							select {
							case <-time.After(time.Millisecond):
							case <-timeout:
								return // which fails the call
							}
						}
					}
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Amz-InvocationId: %d.%d\r\n\r\n", number, seen)
				}
			}()
		}
	}()
	script := filepath.Join(t.TempDir(), "check.py")
	if err := os.WriteFile(script, []byte(connectionChecks), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := extracted(t)
	for _, python := range pythons(t) {
		t.Run(version(t, python), func(t *testing.T) {
			connections.Store(0)
			cmd := exec.Command(python, script)
			cmd.Env = []string{
				"PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + filepath.Join(dir, "python"),
				fmt.Sprintf("GG_DAEMON_PORT=%d", listener.Addr().(*net.TCPAddr).Port), "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic eA==",
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}

const connectionChecks = `
import logging, os, signal, threading
logging.getLogger().addHandler(logging.NullHandler())
from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException
ipc = IPCClient()

def call(body):
    return tuple(int(n) for n in ipc.post_work('arn', body, '').split('.'))

def fails(body):
    try:
        call(body)
    except IPCException as failure:
        assert failure.code is None, failure
        return str(failure)
    raise AssertionError(body)

def check(got, want):
    assert got == want, 'got {0}, want {1}'.format(got, want)

check(call(''), (1, 0))
check(IPCClient().post_work('arn', '', ''), '1.1')  # clients share what is kept

seen = []
threads = []
for n in range(3):  # timers make a thread each time
    thread = threading.Thread(target=lambda: seen.append(call('')))
    thread.start()
    thread.join()
check(seen, [(1, 2), (1, 3), (1, 4)])

check(call('close once'), (2, 0))  # closed without a byte: once more, over a new one
fails('close')                     # and no third time: 2 was kept, 3 is new
check(call(''), (4, 0))
assert '2' in fails('half')        # a byte came, so it may have been done
check(call(''), (5, 0))

class Interrupted(Exception):
    pass

def interrupt(signum, frame):
    raise Interrupted()

signal.signal(signal.SIGUSR1, interrupt)
me = str(os.getpid())
try:
    call(me)
    raise AssertionError('not interrupted')
except Interrupted:
    pass
check(call(''), (6, 0))  # not the answer that the interrupted call waited for

nested = []
signal.signal(signal.SIGUSR1, lambda signum, frame: nested.append(call('')))
check(call(me), (6, 1))
check(nested, [(7, 0)])

child = os.fork()
if child == 0:
    status = 1
    try:
        check(call(''), (8, 0))
        status = 0
    finally:
        os._exit(status)
check(os.waitpid(child, 0)[1], 0)
assert call('')[0] in (6, 7)
`

const moduleChecks = `# -*- coding: utf-8 -*-
from __future__ import print_function, unicode_literals
import logging, os, subprocess, sys
logging.getLogger().addHandler(logging.NullHandler())

from greengrass_common.env_vars import AUTH_TOKEN, MY_FUNCTION_ARN, SHADOW_FUNCTION_ARN, ROUTER_FUNCTION_ARN, \
    SECRETS_MANAGER_FUNCTION_ARN, GG_DAEMON_PORT, GGC_MAX_INTERFACE_VERSION, ENCODING_TYPE
assert AUTH_TOKEN == 'Basic eA==' and MY_FUNCTION_ARN is None and SHADOW_FUNCTION_ARN is None

from greengrass_common.function_arn_fields import FunctionArnFields
full = FunctionArnFields('arn:aws:lambda:us-west-2:123456789012:function:Name-1_x:42')
assert (full.region, full.account_id, full.name, full.qualifier) == ('us-west-2', '123456789012', 'Name-1_x', '42')
assert full.unqualified_arn == 'arn:aws:lambda:us-west-2:123456789012:function:Name-1_x'
assert full.to_arn_string() == 'arn:aws:lambda:us-west-2:123456789012:function:Name-1_x:42'
system = FunctionArnFields('arn:aws:lambda:::function:GGSecretManager:1')
assert (system.region, system.account_id, system.qualifier) == ('', '', '1')
assert FunctionArnFields('arn:aws:lambda:::function:GGRouter').qualifier is None
assert FunctionArnFields('arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f').region == 'us-gov-west-1'
assert FunctionArnFields('arn:aws:lambda:eu-west-1:aws:function:Modbus:3').account_id == 'aws'
assert FunctionArnFields('arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST').qualifier == '$LATEST'
assert FunctionArnFields.build_function_arn('a', '') == 'a' and FunctionArnFields.build_function_arn('a', 'b') == 'a:b'
assert FunctionArnFields.build_arn_string('r', 'a', 'n', None) == 'arn:aws:lambda:r:a:function:n'
for malformed in ('', None, 'x', 'arn:aws:iot:us-west-2:123456789012:thing/x', 'arn:aws:lambda:us-west-2:1:function:f',
                  'arn:aws:lambda:us-west-2:123456789012:function:', ' arn:aws:lambda:::function:GGRouter'):
    try:
        FunctionArnFields(malformed)
    except ValueError:
        continue
    raise AssertionError(malformed)

from greengrass_common.parse_version import parse_version
assert parse_version('1.5') == (1, 5) and parse_version('2') == (2, 0) and parse_version('1.6.1') == (1, 6)
for malformed in ('', 'x', '1.x', '-1.0'):
    try:
        parse_version(malformed)
    except ValueError:
        continue
    raise AssertionError(malformed)

from greengrass_common.greengrass_message import GreengrassMessage
encoded = GreengrassMessage(b'\x00\xff', {'k': 'v'}).encode()
decoded = GreengrassMessage().decode(encoded)
assert decoded.payload == b'\x00\xff' and decoded.extension_map == {'k': 'v'}
for malformed in ('', '{}', '[]', '{"Payload": 1}', '{{'):
    try:
        GreengrassMessage().decode(malformed)
    except ValueError:
        continue
    raise AssertionError(malformed)

from greengrass_common import encoding_type
assert (encoding_type.JSON, encoding_type.BINARY) == ('json', 'binary')

from greengrass_ipc_python_sdk.ipc_client import IPCClient, IPCException, WorkItem, GetWorkResultOutput, InitializationResult
ipc = IPCClient(endpoint='localhost', port=1)
router = 'arn:aws:lambda:::function:GGRouter'
other = 'arn:aws:lambda:us-west-2:123456789012:function:Other:1'
for payload in (b'\xff\x00', 'tr\xe4nen', None, '', b'', bytearray(b'x'), memoryview(b'x')):
    for context in (b'eyJjdXN0b20iOiB7fX0=', 'eyJjdXN0b20iOiB7fX0=', '', b''):
        assert ipc.post_work(other, payload, context, 'Event') == 'id-Event'
assert ipc.post_work(other, b'', b'') == 'id-RequestResponse'
result = ipc.get_work_result(other, 'good')
assert result.func_err == '' and result.payload == 'r\xe4sult'.encode('utf-8') and isinstance(result.payload, bytes)
assert ipc.get_work_result(other, 'failed').func_err == 'Unhandled'
routed = ipc.get_work_result(router, 'any')
assert routed.payload == b'' and routed.func_err == ''
try:
    ipc.post_work('arn:aws:lambda:::function:Missing', b'', b'')
    raise AssertionError('missing function accepted')
except IPCException as failure:
    assert str(failure) == 'HTTP Error 404: Not Found', str(failure)
    assert failure.code == 404 and 'no such function' in failure.body
ipc.set_gg_daemon_port(1)
try:
    ipc.post_work(other, b'', b'')
    raise AssertionError('nobody there')
except IPCException as failure:
    assert 'urlopen error' in str(failure)
try:
    ipc.post_work('arn with spaces\r\nX-Evil: 1', b'', b'')
    raise AssertionError('header injection')
except IPCException:
    pass

from greengrass_ipc_python_sdk.ipc_facade import GreengrassServiceClient, GreengrassServiceMessage, GreengrassRuntimeException
class Fixed(object):
    def __init__(self, invocation):
        self.ipc, self.invocation = IPCClient(), invocation
    def post_work(self, *arguments):
        self.ipc.post_work(*arguments)
        return self.invocation
    def get_work_result(self, *arguments):
        return self.ipc.get_work_result(*arguments)
message = GreengrassServiceMessage(b'', b'body')
good = GreengrassServiceClient(Fixed('good')).call(other, message)
assert good.error_response is None and good.response.payload == 'r\xe4sult'.encode('utf-8')
handled = GreengrassServiceClient(Fixed('handled')).call(other, message)
assert handled.response is None and b'mine' in handled.error_response.payload
for address, invocation in ((other, 'failed'), ('arn:aws:lambda:::function:Missing', 'good')):
    try:
        GreengrassServiceClient(Fixed(invocation)).call(address, message)
    except GreengrassRuntimeException:
        continue
    raise AssertionError(address)

from greengrass_common.common_log_appender import LocalwatchLogHandler, StdioLogWriter, local_cloudwatch_handler
from greengrass_common.local_cloudwatch_handler import LocalCloudwatchLogHandler
reader, writer = os.pipe()
for level in ('TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'):
    os.environ['_GG_LOG_FD_' + level] = str(writer)
def logged(action):
    action()
    return os.read(reader, 65536)
handler = LocalwatchLogHandler()
def record(level, text):
    return logging.LogRecord('n', level, '/x/y/app.py', 3, text, None, None)
assert logged(lambda: handler.handle(record(logging.CRITICAL, 'f\xe4tal'))) == 'app.py:3,f\xe4tal\n'.encode('utf-8')
out = StdioLogWriter(logging.INFO, handler)
here = os.path.basename(__file__)
text = logged(lambda: print('a', 'b', file=out)).decode('utf-8')
assert text.startswith(here + ':') and text.endswith(',a b\n'), text
def several():
    out.write('one\ntwo\n')
    out.write('\n')
    out.write('three')
    out.flush()
lines = logged(several).decode('utf-8').splitlines()
assert [line.split(',', 1)[1] for line in lines] == ['one', 'two', 'three'], lines
assert logged(lambda: out.buffer.write(b'bytes\n')).endswith(b',bytes\n')
assert not out.isatty() and out.fileno() == writer
assert logged(lambda: LocalCloudwatchLogHandler('GreengrassSystem', 'x').write('printed')).endswith(b',printed\n')
os.environ['LOG_LEVEL'] = 'WARN'
quiet = LocalwatchLogHandler()
assert quiet.level == logging.WARNING
`
