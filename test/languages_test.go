//go:build linux

package test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/testkit/standin"
)

// language is what functions are written in. Each has the same two: Main, which takes
// words, and Raw, which takes bytes.
//
// Main publishes "<TAG> up" when it starts, having written to both of its streams. It is
// sent "call <ARN> <words>", calls that function with the words and publishes "<TAG> got
// <function error>|<answer>". The words are: "double <number>", answered with the double
// and with whom the client context says that the call comes from; "env", answered with
// variables; "secret", with the text of the secret greengrass-babel; "credentials", with
// the id of the access key that the core gives; "shadow", which updates the shadow of the
// thing that is called as its tag, gets it, deletes it and gets it again, with what it got
// and the code of the last refusal; "resource", with what is in the model of machine
// learning; "litter", which uses half a gigabyte of memory, at most 20 MB of it at once; "fail" and
// "exit"; and "eat", which takes memory without end.
//
// Raw answers with what it got, backwards. When that is "spin" it spins for ever.
type language struct {
	name, runtime, main, raw string
	// binary is for one whose functions take bytes only.
	binary bool
	// memory is its containers', in KB.
	memory int32
	// starved is how one ends that takes too much of it.
	starved string
	files   func(t *testing.T) map[string][]byte
}

const pythonLanguage = `
from __future__ import print_function
import base64, json, os, sys
from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN, SECRETS_MANAGER_FUNCTION_ARN, SHADOW_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient
ipc = IPCClient()
tag = os.environ.get("TAG")

def context(custom):
    return base64.b64encode(json.dumps({"custom": custom}).encode())

def publish(text):
    ipc.post_work(ROUTER_FUNCTION_ARN, text, context({"source": MY_FUNCTION_ARN, "subject": os.environ["OUT"]}), "Event")

def shadow(operation, payload="{}"):
    id = ipc.post_work(SHADOW_FUNCTION_ARN, payload, context({"subject": "$aws/things/%s/shadow/%s" % (tag, operation)}))
    return json.loads(ipc.get_work_result(SHADOW_FUNCTION_ARN, id).payload.decode())

def handler(event, about):
    words = event.split(" ", 2)
    if words[0] == "call":
        id = ipc.post_work(words[1], json.dumps(words[2]), context({"from": tag}))
        result = ipc.get_work_result(words[1], id)
        publish("%s got %s|%s" % (tag, result.func_err, result.payload.decode()))
    elif words[0] == "double":
        return "%d for %s" % (int(words[1]) * 2, about.client_context.custom["from"])
    elif words[0] == "env":
        return " ".join(os.environ[name] for name in ("GREETING", "AWS_IOT_THING_NAME", "ENCODING_TYPE"))
    elif words[0] == "secret":
        id = ipc.post_work(SECRETS_MANAGER_FUNCTION_ARN, b'{"SecretId":"greengrass-babel"}', b"")
        return json.loads(ipc.get_work_result(SECRETS_MANAGER_FUNCTION_ARN, id).payload.decode())["SecretString"]
    elif words[0] == "credentials":
        try:
            from urllib.request import Request, urlopen
        except ImportError:
            from urllib2 import Request, urlopen
        request = Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]})
        return json.loads(urlopen(request).read().decode())["AccessKeyId"]
    elif words[0] == "shadow":
        shadow("update", json.dumps({"state": {"reported": {"by": tag}}}))
        by = shadow("get")["state"]["reported"]["by"]
        shadow("delete")
        return "%s %d" % (by, shadow("get")["code"])
    elif words[0] == "resource":
        with open(os.environ.get("AWS_GG_RESOURCE_PREFIX", "") + "/ml/babel/model/weights") as f:
            return f.read()
    elif words[0] == "litter":
        for i in range(1 << 17):
            litter = [i] * 512
        return "tidy"
    elif words[0] == "fail":
        raise ValueError("broken in " + tag)
    elif words[0] == "exit":
        sys.exit(3)
    eaten = []
    while words[0] == "eat":
        eaten.append(b"x" * (1 << 20))

def raw(event, about):
    while event == b"spin":
        pass
    return event[::-1]

if "OUT" in os.environ:
    print("said by " + tag)
    print("complained by " + tag, file=sys.stderr)
    publish(tag + " up")
`

const nodeLanguage = `
const {envVars} = require('aws-greengrass-common-js');
const IPCClient = require('aws-greengrass-ipc-sdk-js');
const ipc = new IPCClient(envVars.AUTH_TOKEN);
const tag = process.env.TAG;
const context = (custom) => Buffer.from(JSON.stringify({custom})).toString('base64');
const publish = (text, done) => ipc.postWork(envVars.ROUTER_FUNCTION_ARN, text,
    context({source: envVars.MY_FUNCTION_ARN, subject: process.env.OUT}), 'Event', done);

const shadow = (operation, payload, done) => ipc.postWork(envVars.SHADOW_FUNCTION_ARN, payload,
    context({subject: '$aws/things/' + tag + '/shadow/' + operation}), 'RequestResponse', (err, id) => {
        if (err) throw err;
        ipc.getWorkResult(envVars.SHADOW_FUNCTION_ARN, id, (err, body) => {
            if (err) throw err;
            done(JSON.parse(body));
        });
    });

exports.handler = (event, about, callback) => {
    const words = event.split(' ');
    switch (words[0]) {
    case 'call':
        ipc.postWork(words[1], JSON.stringify(words.slice(2).join(' ')), context({from: tag}), 'RequestResponse', (err, id) => {
            if (err) throw err;
            ipc.getWorkResult(words[1], id, (err, body, functionErr) => {
                if (err) throw err;
                publish(tag + ' got ' + functionErr + '|' + body, callback);
            });
        });
        break;
    case 'double':
        callback(null, words[1] * 2 + ' for ' + about.clientContext.Custom.from);
        break;
    case 'env':
        callback(null, ['GREETING', 'AWS_IOT_THING_NAME', 'ENCODING_TYPE'].map((name) => process.env[name]).join(' '));
        break;
    case 'secret':
        ipc.postWork(envVars.SECRETS_MANAGER_FUNCTION_ARN, '{"SecretId":"greengrass-babel"}', '', 'RequestResponse', (err, id) => {
            if (err) throw err;
            ipc.getWorkResult(envVars.SECRETS_MANAGER_FUNCTION_ARN, id, (err, body) => callback(err, err ? null : JSON.parse(body).SecretString));
        });
        break;
    case 'credentials': {
        const from = require('url').parse(process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI);
        from.headers = {Authorization: process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN};
        require('http').get(from, (answer) => {
            let body = '';
            answer.on('data', (part) => body += part);
            answer.on('end', () => callback(null, JSON.parse(body).AccessKeyId));
        });
        break;
    }
    case 'shadow':
        shadow('update', JSON.stringify({state: {reported: {by: tag}}}), () =>
            shadow('get', '{}', (document) =>
                shadow('delete', '{}', () =>
                    shadow('get', '{}', (refusal) => callback(null, document.state.reported.by + ' ' + refusal.code)))));
        break;
    case 'resource':
        require('fs').readFile((process.env.AWS_GG_RESOURCE_PREFIX || '') + '/ml/babel/model/weights', 'utf8', callback);
        break;
    case 'litter': {
        const litter = [];
        for (let i = 0; i < 1 << 17; i++) litter[i % 5000] = new Array(512).fill(i);
        callback(null, 'tidy');
        break;
    }
    case 'fail':
        callback(new Error('broken in ' + tag));
        break;
    case 'exit':
        process.exit(3);
    case 'eat':
        for (const eaten = []; ;) eaten.push(Buffer.alloc(1 << 20, 1));
    }
};

exports.raw = (event, about, callback) => {
    while (event.toString() === 'spin') {}
    callback(null, Buffer.from(event).reverse());
};

if (process.env.OUT) {
    console.log('said by ' + tag);
    console.error('complained by ' + tag);
    publish(tag + ' up', () => {});
}
`

const javaLanguage = `
package app;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.*;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.Scanner;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import standin.Greengrass;

public class Main {
    static final String TAG = System.getenv("TAG");
    static volatile byte[] litter;
    static {
        if (System.getenv("OUT") != null) {
            System.out.println("said by " + TAG);
            System.err.println("complained by " + TAG);
            Greengrass.log("warned by " + TAG, com.amazonaws.greengrass.common.LogLevel.WARN);
            try {
                Greengrass.publish(System.getenv("OUT"), TAG + " up");
            } catch (Exception failed) {
                throw new RuntimeException(failed);
            }
        }
    }

    public String handle(String event, Context about) throws Exception {
        String[] words = event.split(" ", 3);
        switch (words[0]) {
            case "call":
                String got = Greengrass.invoke(words[1], ('"' + words[2] + '"').getBytes(), "{\"from\":\"" + TAG + "\"}");
                Greengrass.publish(System.getenv("OUT"), TAG + " got " + got.replace("|200|", "|"));
                return null;
            case "double":
                return Integer.parseInt(words[1]) * 2 + " for " + about.getClientContext().getCustom().get("from");
            case "env":
                return System.getenv("GREETING") + " " + System.getenv("AWS_IOT_THING_NAME") + " " + System.getenv("ENCODING_TYPE");
            case "secret":
                return member("SecretString", Greengrass.secret("greengrass-babel"));
            case "credentials":
                HttpURLConnection asked = (HttpURLConnection) new URL(System.getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")).openConnection();
                asked.setRequestProperty("Authorization", System.getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
                try (Scanner body = new Scanner(asked.getInputStream(), "UTF-8").useDelimiter("\\A")) {
                    return member("AccessKeyId", body.next());
                }
            case "shadow":
                Greengrass.shadow(TAG, "update", "{\"state\":{\"reported\":{\"by\":\"" + TAG + "\"}}}");
                String by = member("by", Greengrass.shadow(TAG, "get", "{}"));
                Greengrass.shadow(TAG, "delete", "{}");
                return by + " " + Greengrass.shadow(TAG, "get", "{}").replaceAll(".*\"code\":([0-9]+).*", "$1");
            case "resource":
                String prefix = System.getenv("AWS_GG_RESOURCE_PREFIX");
                return new String(Files.readAllBytes(Paths.get((prefix == null ? "" : prefix) + "/ml/babel/model/weights")), "UTF-8");
            case "litter":
                for (int i = 0; i < 1 << 17; i++) litter = new byte[1 << 12];
                return "tidy";
            case "fail":
                throw new IllegalStateException("broken in " + TAG);
            case "exit":
                System.exit(3);
        }
        List<byte[]> eaten = new ArrayList<>();
        while (words[0].equals("eat")) eaten.add(new byte[1 << 16]);
        return null;
    }

    static String member(String name, String json) {
        Matcher found = Pattern.compile('"' + name + "\":\"([^\"]*)").matcher(json);
        return found.find() ? found.group(1) : json;
    }

    public void raw(InputStream in, OutputStream out) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (int b = in.read(); b >= 0; b = in.read()) all.write(b);
        String said = all.toString(); // a new one each time would be garbage, and memory
        while (said.equals("spin")) { }
        for (int i = all.size() - 1; i >= 0; i--) out.write(all.toByteArray()[i]);
    }
}
`

// cLanguage tells Main and Raw apart by what they are told in their environment.
const cLanguage = `
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "greengrasssdk.h"

static const char *tag;

static size_t read_all(gg_error (*read)(void *, size_t, size_t *), char *to, size_t size) {
    size_t at = 0, n;
    while (read(to + at, size - 1 - at, &n) == GGE_SUCCESS && n > 0) at += n;
    to[at] = 0;
    return at;
}

static gg_request request;

static gg_error from_request(void *to, size_t size, size_t *n) { return gg_request_read(request, to, size, n); }

static void publish(const char *text) {
    gg_publish_options options = NULL;
    gg_request_result result;
    if (gg_publish_options_init(&options) || gg_publish_options_set_queue_full_policy(options, GG_QUEUE_FULL_POLICY_ALL_OR_ERROR)
        || gg_publish_with_options(request, getenv("OUT"), text, strlen(text), options, &result) || result.request_status)
        gg_log(GG_LOG_ERROR, "publish failed");
    gg_publish_options_free(options);
}

static void call(char *arn) {
    static const char *const errors[] = {"", "Handled", "Unhandled", "unknown", "again"};
    char answer[2048], text[4096], payload[256], context[256], encoded[400] = "";
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *words = strchr(arn, ' ');
    gg_request_result result;
    gg_invoke_options options = {0};
    size_t i;
    *words++ = 0;
    snprintf(payload, sizeof payload, "\"%s\"", words);
    snprintf(context, sizeof context, "{\"custom\":{\"from\":\"%s\"}}", tag);
    while (strlen(context) % 3) strcat(context, " ");
    for (i = 0; context[i]; i += 3) {
        unsigned bits = (unsigned char)context[i] << 16 | (unsigned char)context[i + 1] << 8 | (unsigned char)context[i + 2];
        char four[5] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63], digits[bits & 63], 0};
        strcat(encoded, four);
    }
    options.function_arn = arn;
    options.customer_context = encoded;
    options.type = GG_INVOKE_REQUEST_RESPONSE;
    options.payload = payload;
    options.payload_size = strlen(payload);
    if (gg_invoke(request, &options, &result)) gg_log(GG_LOG_ERROR, "invoke failed");
    read_all(from_request, answer, sizeof answer);
    snprintf(text, sizeof text, "%s got %s|%s", tag, errors[result.request_status], answer);
    publish(text);
}

/* answer_member answers with a member of a JSON text, or the whole text without it. */
static void answer_member(const char *json, const char *name) {
    char key[64], value[1024], text[2048];
    const char *at;
    snprintf(key, sizeof key, "\"%s\":\"", name);
    if ((at = strstr(json, key)) == NULL || sscanf(at + strlen(key), "%1023[^\"]", value) != 1) snprintf(value, sizeof value, "%.900s", json);
    snprintf(text, sizeof text, "\"%s\"", value);
    gg_lambda_handler_write_response(text, strlen(text));
}

static void secret(void) {
    char answer[2048] = "";
    gg_request_result result;
    if (gg_get_secret_value(request, "greengrass-babel", NULL, NULL, &result)) gg_log(GG_LOG_ERROR, "get secret value failed");
    read_all(from_request, answer, sizeof answer);
    answer_member(answer, "SecretString");
}

static void shadow(void) {
    char update[256], document[2048] = "", refusal[2048] = "", by[64] = "", text[256];
    const char *at;
    int code = 0;
    gg_request_result result;
    snprintf(update, sizeof update, "{\"state\":{\"reported\":{\"by\":\"%s\"}}}", tag);
    if (gg_update_thing_shadow(request, tag, update, &result) || result.request_status) gg_log(GG_LOG_ERROR, "update thing shadow failed");
    if (gg_get_thing_shadow(request, tag, &result) || result.request_status) gg_log(GG_LOG_ERROR, "get thing shadow failed");
    read_all(from_request, document, sizeof document);
    if (gg_delete_thing_shadow(request, tag, &result) || result.request_status) gg_log(GG_LOG_ERROR, "delete thing shadow failed");
    if (gg_get_thing_shadow(request, tag, &result) || result.request_status != GG_REQUEST_HANDLED) gg_log(GG_LOG_ERROR, "a shadow that was deleted is there");
    read_all(from_request, refusal, sizeof refusal);
    if ((at = strstr(document, "\"by\":\"")) != NULL) sscanf(at + 6, "%63[^\"]", by);
    if ((at = strstr(refusal, "\"code\":")) != NULL) sscanf(at + 7, "%d", &code);
    snprintf(text, sizeof text, "\"%s %d\"", by, code);
    gg_lambda_handler_write_response(text, strlen(text));
}

static void credentials(void) {
    char text[8192], path[256] = "";
    int port = 0, fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t at = 0;
    ssize_t n;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sscanf(getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "http://%*[^:]:%d%255s", &port, path);
    to.sin_port = htons(port);
    snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: localhost:%d\r\nAuthorization: %s\r\n\r\n", path, port, getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, text, strlen(text)) < 0) gg_log(GG_LOG_ERROR, "no credentials");
    while (at < sizeof text - 1 && (n = read(fd, text + at, sizeof text - 1 - at)) > 0) at += n;
    text[at] = 0;
    close(fd);
    answer_member(text, "AccessKeyId");
}

static void resource(void) {
    const char *prefix = getenv("AWS_GG_RESOURCE_PREFIX");
    char path[1024], text[256] = "", answer[300];
    FILE *f;
    snprintf(path, sizeof path, "%s/ml/babel/model/weights", prefix ? prefix : "");
    if ((f = fopen(path, "r")) != NULL) {
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
    }
    snprintf(answer, sizeof answer, "\"%s\"", text);
    gg_lambda_handler_write_response(answer, strlen(answer));
}

static void handle(const gg_lambda_context *about) {
    char event[2048], text[256];
    size_t size = read_all(gg_lambda_handler_read, event, sizeof event), i;
    if (tag == NULL) {
        while (strcmp(event, "spin") == 0) { }
        for (i = 0; i < size; i++) text[i] = event[size - 1 - i];
        gg_lambda_handler_write_response(text, size);
        return;
    }
    event[size - 1] = 0; /* the quotes */
    if (strncmp(event + 1, "call ", 5) == 0) {
        call(event + 6);
    } else if (strncmp(event + 1, "double ", 7) == 0) {
        const char *from = strstr(about->client_context, "\"from\"");
        char who[64] = "";
        sscanf(from ? from + 6 : "", "%*[ :]\"%63[^\"]", who);
        snprintf(text, sizeof text, "\"%d for %s\"", atoi(event + 8) * 2, who);
        gg_lambda_handler_write_response(text, strlen(text));
    } else if (strcmp(event + 1, "env") == 0) {
        snprintf(text, sizeof text, "\"%s %s %s\"", getenv("GREETING"), getenv("AWS_IOT_THING_NAME"), getenv("ENCODING_TYPE"));
        gg_lambda_handler_write_response(text, strlen(text));
    } else if (strcmp(event + 1, "secret") == 0) {
        secret();
    } else if (strcmp(event + 1, "credentials") == 0) {
        credentials();
    } else if (strcmp(event + 1, "shadow") == 0) {
        shadow();
    } else if (strcmp(event + 1, "resource") == 0) {
        resource();
    } else if (strcmp(event + 1, "litter") == 0) {
        for (i = 0; i < 1 << 17; i++) free(memset(malloc(1 << 12), 1, 1 << 12));
        gg_lambda_handler_write_response("\"tidy\"", strlen("\"tidy\""));
    } else if (strcmp(event + 1, "fail") == 0) {
        snprintf(text, sizeof text, "broken in %s", tag);
        gg_lambda_handler_write_error(text);
    } else if (strcmp(event + 1, "exit") == 0) {
        exit(3);
    }
    while (strcmp(event + 1, "eat") == 0) memset(malloc(1 << 20), 1, 1 << 20);
}

int main(void) {
    char text[256];
    tag = getenv("TAG");
    if (gg_global_init(0) || gg_request_init(&request)) return 1;
    if (tag != NULL) {
        printf("said by %s\n", tag);
        fprintf(stderr, "complained by %s\n", tag);
        gg_log(GG_LOG_WARN, "warned by %s", tag);
        snprintf(text, sizeof text, "%s up", tag);
        publish(text);
    }
    return gg_runtime_start(handle, 0) == GGE_TERMINATE ? 0 : 1;
}
`

// killed is what is said of a function that the kernel killed for its memory.
const killed = "killed for using more memory than its MemorySize of %d KB"

// languages are those that a core runs.
var languages = []language{
	{name: "Python", runtime: "python3.7", main: "main.handler", raw: "main.raw", memory: 65536, starved: killed, files: func(*testing.T) map[string][]byte {
		return map[string][]byte{"main.py": []byte(pythonLanguage)}
	}},
	{name: "Node", runtime: "nodejs12.x", main: "index.handler", raw: "index.raw", memory: 131072, starved: killed, files: func(t *testing.T) map[string][]byte {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("node (Debian's package nodejs) is not installed")
		}
		return map[string][]byte{"index.js": []byte(nodeLanguage)}
	}},
	{name: "Java", runtime: "java8", main: "app.Main::handle", raw: "app.Main::raw", memory: 262144, starved: "its objects need more memory than its MemorySize of %d KB has for them", files: func(t *testing.T) map[string][]byte {
		return standin.Java(t, functionRuntimes(t), map[string]string{"Main.java": javaLanguage})
	}},
	{name: "C", runtime: fescue.ExecutableRuntime, main: "program", raw: "program", binary: true, memory: 16384, starved: killed, files: func(t *testing.T) map[string][]byte {
		return standin.C(t, cLanguage)
	}},
}

// functionRuntimes is a folder with what functions load.
func functionRuntimes(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runtime")
	if err := runtimes.Extract(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
