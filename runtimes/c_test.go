package runtimes_test

import (
	"debug/elf"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fescue-edge/fescue/testkit/standin"
)

// librarySymbols are what programs refer to, by the version that they demand.
var librarySymbols = map[string][]string{
	"aws_greengrass_core_sdk_c_1.0": {
		"gg_global_init", "gg_log", "gg_request_init", "gg_request_reuse", "gg_request_close", "gg_request_read", "gg_runtime_start",
		"gg_lambda_handler_read", "gg_lambda_handler_write_response", "gg_lambda_handler_write_error", "gg_invoke", "gg_publish",
		"gg_get_thing_shadow", "gg_update_thing_shadow", "gg_delete_thing_shadow",
	},
	"aws_greengrass_core_sdk_c_1.1": {"gg_get_secret_value"},
	"aws_greengrass_core_sdk_c_1.2": {
		"gg_publish_options_init", "gg_publish_options_free", "gg_publish_options_set_queue_full_policy", "gg_publish_with_options",
	},
}

// TestLibraries: those for all processors bear the names that programs look for, and
// need no version of the C library.
func TestLibraries(t *testing.T) {
	t.Parallel()
	for folder, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "armv7": elf.EM_ARM, "armv6": elf.EM_ARM} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			file, err := elf.Open(filepath.Join("dist", "executable", folder, "libaws-greengrass-core-sdk-c.so"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if file.Machine != machine {
				t.Errorf("it is for %s", file.Machine)
			}
			if name, err := file.DynString(elf.DT_SONAME); err != nil || !slices.Equal(name, []string{"libaws-greengrass-core-sdk-c.so"}) {
				t.Errorf("its name is %q, %v", name, err)
			}
			needed, err := file.ImportedLibraries()
			if err != nil || !slices.Equal(needed, []string{"libc.so.6", "libpthread.so.0"}) {
				t.Errorf("it needs %q, %v", needed, err)
			}
			symbols, err := file.DynamicSymbols()
			if err != nil {
				t.Fatal(err)
			}
			wanted := make(map[string]string)
			for version, names := range librarySymbols {
				for _, name := range names {
					wanted[name] = version
				}
			}
			for _, s := range symbols {
				switch {
				case s.Section == elf.SHN_UNDEF && s.Version != "":
					t.Errorf("it needs %s of version %s", s.Name, s.Version)
				case s.Section == elf.SHN_UNDEF || s.Section == elf.SHN_ABS || s.Name == "":
				case wanted[s.Name] != s.Version || s.Version == "":
					t.Errorf("it has %s of version %q, want %q", s.Name, s.Version, wanted[s.Name])
				default:
					delete(wanted, s.Name)
				}
			}
			if len(wanted) > 0 {
				t.Errorf("it lacks %v", wanted)
			}
		})
	}
}

// TestArmv6: nothing in the library for armv6 is an instruction that came later, as a Raspberry
// Pi 1 and Zero would find out only when they come to it. What a disassembler reads that
// knows no later one is what one that knows all reads; that this tells, the library for armv7 shows.
func TestArmv6(t *testing.T) {
	t.Parallel()
	const objdump = "arm-linux-gnueabihf-objdump"
	if _, err := exec.LookPath(objdump); err != nil {
		t.Skipf("%s (Debian's binutils-arm-linux-gnueabihf) is not installed", objdump)
	}
	read := func(folder, machine string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), objdump, "-d", "-j", ".plt", "-j", ".text", "-m", machine,
			filepath.Join("dist", "executable", folder, "libaws-greengrass-core-sdk-c.so")).Output()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Collect(strings.Lines(string(out)))
	}
	later := func(folder string) (list []string) {
		old, all := read(folder, "armv6"), read(folder, "arm")
		if len(old) != len(all) || len(all) < 1000 {
			t.Fatalf("%s: %d lines and %d", folder, len(old), len(all))
		}
		for i, line := range all {
			if line != old[i] {
				list = append(list, line)
			}
		}
		return list
	}
	if list := later("armv6"); len(list) > 0 {
		t.Errorf("%d instructions that armv6 has not:\n%s", len(list), strings.Join(list[:min(len(list), 20)], ""))
	}
	if len(later("armv7")) == 0 {
		t.Error("armv7's library has no instruction that armv6 has not, so this shows nothing")
	}
}

// cFunction is the folder of a function in C.
func cFunction(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	standin.Write(t, dir, standin.C(t, source))
	return dir
}

// runC starts a function in C.
func (c *fakeCore) runC(t *testing.T, dir string, arguments ...string) *process {
	t.Helper()
	return c.start(t, dir, []string{"LD_LIBRARY_PATH=" + filepath.Join(extracted(t), "executable")}, filepath.Join(dir, "program"), arguments...)
}

const cWorker = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "greengrasssdk.h"

static void handle(const gg_lambda_context *about) {
    char event[8], answer[512] = "";
    size_t n, filled = 0;
    while (gg_lambda_handler_read(event + filled, sizeof event - filled, &n) == GGE_SUCCESS && n > 0) filled += n;
    if (filled == sizeof event && (gg_lambda_handler_read(event, 0, &n) != GGE_SUCCESS || n != 0)) exit(9);
    if (filled > 0 && event[0] == '!') {
        gg_lambda_handler_write_response("overwritten", 11);
        gg_lambda_handler_write_error("b\"ad\n\xc3\xa4");
        return;
    }
    if (filled > 0 && event[0] == '?') return;
    snprintf(answer, sizeof answer, "%.*s|%s|%s", (int)filled, event, about->client_context, about->function_arn);
    gg_lambda_handler_write_response(answer, strlen(answer) + 1);
}

int main(int argc, char **argv) {
    char byte;
    size_t n;
    if (gg_global_init(0) != GGE_SUCCESS) return 1;
    printf("printed\n");
    gg_log(GG_LOG_DEBUG, "too low");
    gg_log(GG_LOG_ERROR, "%s %d", "logged", 600);
    if (gg_lambda_handler_read(&byte, 1, &n) != GGE_INVALID_STATE || gg_lambda_handler_write_error("x") != GGE_INVALID_STATE) return 2;
    if (argc > 1) {
        if (gg_runtime_start(handle, GG_RT_OPT_ASYNC) != GGE_SUCCESS || gg_runtime_start(handle, 0) != GGE_INVALID_STATE) return 3;
        for (;;) pause();
    }
    gg_error ended = gg_runtime_start(handle, 0);
    printf("ended with %d\n", ended);
    return ended == GGE_TERMINATE ? 0 : 4;
}
`

func TestCWork(t *testing.T) {
	t.Parallel()
	dir := cFunction(t, cWorker)
	t.Run("items, in one process over one connection", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		core.fail <- http.StatusServiceUnavailable
		p := core.runC(t, dir)
		for _, step := range []struct {
			item item
			want answer
		}{
			{item{"i1", encode(`{"custom":{"subject":"a/b"}}`), "\xff\x00cdefghij"}, answer{"POST", "i1", "", "\xff|" + `{"custom":{"subject":"a/b"}}|` + ownARN + "\x00"}},
			{item{"i2", "", "x"}, answer{"POST", "i2", "", "x||" + ownARN + "\x00"}},
			{item{"i3", "%%%", ""}, answer{"POST", "i3", "", "||" + ownARN + "\x00"}},
			{item{"i4", "", "!"}, answer{"POST", "i4", "Handled", `{"errorMessage":"b\"ad\u000aä"}`}},
			{item{"i5", "", "?"}, answer{"POST", "i5", "", ""}},
		} {
			core.work <- step.item
			if got := core.next(t); got != step.want {
				t.Errorf("got  %q\nwant %q", got, step.want)
			}
		}
		if n := core.connections.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		core.CloseClientConnections()
		core.work <- item{"i6", "", "y"}
		if got, want := core.next(t), (answer{"POST", "i6", "", "y||" + ownARN + "\x00"}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		p.Process.Signal(syscall.SIGTERM)
		if status := p.wait(t); status != 0 {
			t.Errorf("status %d, want 0", status)
		}
		for _, want := range []string{"printed\n", "Running [" + ownARN + "]\n", "ended with 5\n"} {
			if !strings.Contains(p.out.String(), want) {
				t.Errorf("stdout lacks %q:\n%s", want, p.out.String())
			}
		}
		if want := "logged 600\nIgnoring a client context that cannot be read\n"; p.err.String() != want {
			t.Errorf("stderr is %q, want %q", p.err.String(), want)
		}
	})
	t.Run("in a thread of its own", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		p := core.runC(t, dir, "async")
		core.work <- item{"i1", "", "?"}
		core.next(t)
		p.Process.Signal(syscall.SIGTERM)
		if status := p.wait(t); status != 0 {
			t.Errorf("status %d, want 0", status)
		}
	})
	t.Run("a refused token ends it", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		p := core.start(t, dir, []string{"LD_LIBRARY_PATH=" + filepath.Join(extracted(t), "executable"), "AWS_CONTAINER_AUTHORIZATION_TOKEN=x"}, filepath.Join(dir, "program"))
		if status := p.wait(t); status != 4 || !strings.Contains(p.err.String(), "Stopping because the core refuses work: 401 unknown token") {
			t.Errorf("status %d:\n%s", status, p.err.String())
		}
	})
}

// TestCCalls has a program call all that it can.
func TestCCalls(t *testing.T) {
	t.Parallel()
	const functions = "/2016-11-01/functions/"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		target, id := strings.TrimPrefix(r.URL.Path, functions), r.Header.Get("X-Amz-InvocationId")
		said := strings.Join([]string{r.Header.Get("X-Amz-Invocation-Type"), r.Header.Get("X-Amz-Client-Context"), string(body)}, "|")
		switch {
		case r.Header.Get("Authorization") != "Basic eA==":
			http.Error(w, "unknown token", http.StatusUnauthorized)
		case target == "missing":
			http.Error(w, "no such function", http.StatusNotFound)
		case target == "brief": // as the server of the core itself refuses
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n431 too large")
			conn.Close()
		case target == "full":
			http.Error(w, "full", http.StatusTooManyRequests)
		case r.Method == http.MethodPost:
			w.Header().Set("X-Amz-InvocationId", said)
		default:
			if kind, text, ok := strings.Cut(target, "="); ok {
				w.Header().Set("X-Amz-Function-Error", kind)
				io.WriteString(w, text)
				return
			}
			w.Header().Set("X-Amz-Function-Error", "")
			switch {
			case strings.HasSuffix(id, "||") || strings.Contains(id, "Event"):
				http.Error(w, "not to be asked for", http.StatusTeapot)
			case strings.Contains(id, `{"SecretId":"none"}`):
				io.WriteString(w, `{"Status":404,"Message":"no secret"}`)
			case strings.Contains(id, `"broken"`):
				io.WriteString(w, `{ "code" : 409, "inner": {"message": 1}, "message": "conflict"}`)
			case strings.Contains(id, `"nested"`):
				io.WriteString(w, `{"state":{"code":1,"message":"m"},"code":2,"x":"message"}`)
			default:
				io.WriteString(w, target+"|"+id)
			}
		}
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	// What shadow and publish say of themselves in their client contexts.
	about := func(subject, rest string) string {
		return encode(`{"custom":{"source":"` + ownARN + `","subject":"` + subject + `"` + rest + `}}`)
	}
	dir := cFunction(t, strings.NewReplacer(
		"GET_CONTEXT", about("$aws/things/t/shadow/get", ""), "UPDATE_CONTEXT", about("$aws/things/t/shadow/update", ""),
		"DELETE_CONTEXT", about("$aws/things/t/shadow/delete", ""),
	).Replace(cCalls))
	cmd := exec.Command(filepath.Join(dir, "program"))
	cmd.Env = []string{
		"LD_LIBRARY_PATH=" + filepath.Join(extracted(t), "executable"), "MY_FUNCTION_ARN=" + ownARN, "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic eA==",
		fmt.Sprint("GG_DAEMON_PORT=", address.Port()), "ROUTER_FUNCTION_ARN=router", "SHADOW_FUNCTION_ARN=shadow", "SECRETS_MANAGER_FUNCTION_ARN=secrets",
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

const cCalls = `
#include <stdio.h>
#include <string.h>
#include "greengrasssdk.h"

static gg_request request;
static gg_request_result result;

static int line(int line, gg_error got, gg_error want, gg_request_status status, const char *answer) {
    char text[1024];
    size_t n, at = 0;
    if (got != want) {
        printf("line %d: %d, want %d\n", line, got, want);
        exit(1);
    }
    if (got != GGE_SUCCESS) return 0;
    while (gg_request_read(request, text + at, sizeof text - 1 - at, &n) == GGE_SUCCESS && n > 0) at += n;
    text[at] = 0;
    if (result.request_status != status || (answer != NULL && strcmp(text, answer) != 0)) {
        printf("line %d: status %d, want %d; answer %s, want %s\n", line, result.request_status, status, text, answer);
        exit(1);
    }
    return 1;
}
#define CHECK(call, status, answer) line(__LINE__, call, GGE_SUCCESS, status, answer)
#define FAILS(call, error) line(__LINE__, call, error, 0, NULL)

static gg_error invoke(const char *arn, const char *qualifier, gg_invoke_type type, const char *context) {
    gg_invoke_options options = {arn, context, qualifier, type, "body", 4};
    return gg_invoke(request, &options, &result);
}

int main(void) {
    gg_publish_options options;
    size_t n;
    char byte;
    FAILS(gg_request_init(NULL), GGE_INVALID_PARAMETER);
    gg_request_init(&request);
    FAILS(gg_publish(request, "t", "x", 1, &result), GGE_INVALID_STATE);
    FAILS(gg_global_init(1), GGE_INVALID_PARAMETER);
    if (gg_global_init(0) != GGE_SUCCESS) return 2;

    CHECK(invoke("a:a:lambda:r:1:function:f:1", "1", GG_INVOKE_REQUEST_RESPONSE, "Y29udGV4dA=="), GG_REQUEST_SUCCESS, "a:a:lambda:r:1:function:f:1|RequestResponse|Y29udGV4dA==|body");
    CHECK(invoke("a:a:lambda:r:1:function:f", "2", GG_INVOKE_REQUEST_RESPONSE, NULL), GG_REQUEST_SUCCESS, "a:a:lambda:r:1:function:f:2|RequestResponse||body");
    FAILS(invoke("a:a:lambda:r:1:function:f:1", "2", GG_INVOKE_REQUEST_RESPONSE, NULL), GGE_INVALID_PARAMETER);
    FAILS(invoke(NULL, NULL, GG_INVOKE_EVENT, NULL), GGE_INVALID_PARAMETER);
    FAILS(invoke("f", NULL, (gg_invoke_type)7, NULL), GGE_INVALID_PARAMETER);
    FAILS(invoke("f", NULL, GG_INVOKE_EVENT, "x\r\nX-Evil: 1"), GGE_INVALID_PARAMETER);
    FAILS(invoke("f x", NULL, GG_INVOKE_EVENT, NULL), GGE_INVALID_PARAMETER);
    FAILS(gg_invoke(request, NULL, &result), GGE_INVALID_PARAMETER);
    FAILS(gg_invoke(NULL, NULL, &result), GGE_INVALID_PARAMETER);
    CHECK(invoke("Handled=mine", NULL, GG_INVOKE_REQUEST_RESPONSE, NULL), GG_REQUEST_HANDLED, "mine");
    CHECK(invoke("Unhandled=late", NULL, GG_INVOKE_REQUEST_RESPONSE, NULL), GG_REQUEST_UNHANDLED, "late");
    CHECK(invoke("Unhandled=late", NULL, GG_INVOKE_EVENT, NULL), GG_REQUEST_SUCCESS, "");
    CHECK(invoke("missing", NULL, GG_INVOKE_REQUEST_RESPONSE, NULL), GG_REQUEST_UNKNOWN, NULL);
    CHECK(invoke("brief", NULL, GG_INVOKE_EVENT, NULL), GG_REQUEST_UNKNOWN, "431 too large");
    CHECK(invoke("full", NULL, GG_INVOKE_REQUEST_RESPONSE, NULL), GG_REQUEST_AGAIN, NULL);

    CHECK(gg_publish(request, "t\"", "x", 1, &result), GG_REQUEST_SUCCESS, "");
    FAILS(gg_publish_options_init(NULL), GGE_INVALID_PARAMETER);
    if (gg_publish_options_init(&options) || gg_publish_options_set_queue_full_policy(options, GG_QUEUE_FULL_POLICY_BEST_EFFORT)) return 3;
    FAILS(gg_publish_options_set_queue_full_policy(options, (gg_queue_full_policy_options)7), GGE_INVALID_PARAMETER);
    CHECK(gg_publish_with_options(request, "t", NULL, 0, options, &result), GG_REQUEST_SUCCESS, "");
    FAILS(gg_publish_with_options(request, NULL, NULL, 0, options, &result), GGE_INVALID_PARAMETER);
    FAILS(gg_publish_with_options(request, "t", NULL, 1, options, &result), GGE_INVALID_PARAMETER);
    gg_publish_options_free(options);
    gg_publish_options_free(NULL);

    CHECK(gg_get_thing_shadow(request, "t", &result), GG_REQUEST_SUCCESS, "shadow|RequestResponse|GET_CONTEXT|");
    CHECK(gg_update_thing_shadow(request, "t", "{\"state\":{}}", &result), GG_REQUEST_SUCCESS, "shadow|RequestResponse|UPDATE_CONTEXT|{\"state\":{}}");
    CHECK(gg_delete_thing_shadow(request, "t", &result), GG_REQUEST_SUCCESS, "shadow|RequestResponse|DELETE_CONTEXT|");
    CHECK(gg_update_thing_shadow(request, "t", "\"broken\"", &result), GG_REQUEST_HANDLED, "{ \"code\" : 409, \"inner\": {\"message\": 1}, \"message\": \"conflict\"}");
    CHECK(gg_update_thing_shadow(request, "t", "\"nested\"", &result), GG_REQUEST_SUCCESS, NULL);
    FAILS(gg_update_thing_shadow(request, "t", NULL, &result), GGE_INVALID_PARAMETER);
    CHECK(gg_get_secret_value(request, "s", NULL, "AWSCURRENT", &result), GG_REQUEST_SUCCESS, "secrets|RequestResponse||{\"SecretId\":\"s\",\"VersionStage\":\"AWSCURRENT\"}");
    CHECK(gg_get_secret_value(request, "none", NULL, NULL, &result), GG_REQUEST_HANDLED, "{\"Status\":404,\"Message\":\"no secret\"}");

    FAILS(gg_request_read(request, NULL, 1, &n), GGE_INVALID_PARAMETER);
    FAILS(gg_request_read(NULL, &byte, 1, &n), GGE_INVALID_PARAMETER);
    gg_request_close(request);
    gg_request_close(NULL);
    return 0;
}
`
