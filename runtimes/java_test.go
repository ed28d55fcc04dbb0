package runtimes_test

import (
	"archive/zip"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue/runtimes"
	"github.com/fescue-edge/fescue/testkit/standin"
)

// TestJavaClasses: what is committed runs on Java 8.
func TestJavaClasses(t *testing.T) {
	t.Parallel()
	archive, err := zip.OpenReader(filepath.Join(extracted(t), runtimes.JavaMain))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	classes := 0
	for _, file := range archive.File {
		if !strings.HasSuffix(file.Name, ".class") {
			continue
		}
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 8)
		_, err = io.ReadFull(r, head)
		r.Close()
		if err != nil || binary.BigEndian.Uint32(head) != 0xcafebabe || binary.BigEndian.Uint16(head[6:]) != 52 {
			t.Errorf("%s is no class of Java 8: %x, %v", file.Name, head, err)
		}
		classes++
	}
	if classes < 20 {
		t.Errorf("only %d classes", classes)
	}
}

const javaHandlers = `
package app;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.*;
import java.util.*;

public class App implements RequestHandler<App.Order, App.Order> {
    public enum Size {SMALL, LARGE}
    public static class Item {
        public String name;
        public int[] codes;
    }
    public static class Order {
        private long count;
        private Size size;
        private List<Item> items;
        private Map<String, Double> prices;
        private boolean open;
        public long getCount() { return count; }
        public void setCount(long count) { this.count = count; }
        public Size getSize() { return size; }
        public void setSize(Size size) { this.size = size; }
        public List<Item> getItems() { return items; }
        public void setItems(List<Item> items) { this.items = items; }
        public Map<String, Double> getPrices() { return prices; }
        public void setPrices(Map<String, Double> prices) { this.prices = prices; }
        public boolean isOpen() { return open; }
        public void setOpen(boolean open) { this.open = open; }
    }
    private final List<String> seen = new ArrayList<>();

    public Order handleRequest(Order order, Context context) {
        order.setCount(order.getCount() * 2);
        return order;
    }
    public Map<String, Object> context(Object event, Context context) {
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("event", event);
        said.put("custom", context.getClientContext() == null ? null : context.getClientContext().getCustom());
        said.put("name", context.getFunctionName());
        said.put("version", context.getFunctionVersion());
        said.put("id", context.getAwsRequestId());
        said.put("arn", context.getInvokedFunctionArn());
        context.getLogger().log("logged");
        return said;
    }
    public String overloaded(Context context) { return "one, context"; }
    public String overloaded(String event, Context context) { return "two"; }
    public String overloaded(String event) { return "one"; }
    public String tie(String event) { return "event"; }
    public String tie(Context context) { return "context"; }
    public int none() { return 7; }
    public static int fixed(int n) { return n + 1; }
    public int keeps(String event) { seen.add(event); if (event.isEmpty()) throw new IllegalStateException("b\u00e4d \ud83d\ude00"); return seen.size(); }
    public void nothing(Map<String, Object> event) { }
    public void streams(InputStream in, OutputStream out, Context context) throws IOException {
        int n;
        while ((n = in.read()) >= 0) out.write(Character.toUpperCase(n));
        out.write(context.getFunctionName().getBytes());
    }
    public void streams(InputStream in, OutputStream out) { throw new Error("the longer one wins"); }
    public void in(InputStream in) { }
    public void out(OutputStream out) throws IOException { out.write(0xff); }
    public void spin() { for (;;) { } }
    public void leave() { System.exit(7); }
    public Object unfit() { return new Object(); }
    public void hidden(int a, int b) { }
}
`

// runJava starts a function with a handler of a package.
func (c *fakeCore) runJava(t *testing.T, code, handler string, environment ...string) *process {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("java (Debian's package default-jre-headless) is not installed; install it to run this test")
	}
	path := strings.Join([]string{filepath.Join(extracted(t), runtimes.JavaMain), code, code + "/lib/*"}, ":")
	// The proxy is one that functions set for the whole machine.
	return c.start(t, code, environment, java, "-XX:TieredStopAtLevel=1", "-DsocksProxyHost=127.0.0.1", "-DsocksProxyPort=9", "-cp", path,
		"com.amazonaws.greengrass.runtime.LambdaRuntime", "--handler="+handler)
}

func TestJava(t *testing.T) {
	t.Parallel()
	code := t.TempDir()
	standin.Write(t, code, standin.Java(t, extracted(t), map[string]string{
		"App.java":    javaHandlers,
		"Broken.java": "package app; public class Broken { static { if (true) throw new IllegalStateException(\"no sensor\"); } public void handle() { } }",
		"Lacks.java":  "package app; public class Lacks { public Lacks(int n) { } public void handle() { } }",
	}))
	const order = `{"count":4,"size":"LARGE","items":[{"name":"a","codes":[1,2]},null],"prices":{"x":1},"open":true}`
	binaryEncoding := []string{"ENCODING_TYPE=binary"}
	for _, test := range []struct {
		name, handler string
		environment   []string
		item          item
		want          answer
		contains      bool // want.body is only a part
		log           string
	}{
		{name: "a bean", handler: "app.App::handleRequest", item: item{"i1", "", `{"unknown":[],` + order[1:]},
			want: answer{"POST", "i1", "", `{"count":8,"items":[{"codes":[1,2],"name":"a"},null],"open":true,"prices":{"x":1.0},"size":"LARGE"}`}},
		{name: "a RequestHandler without a method", handler: "app.App", item: item{"i1", "", `{"count":1}`},
			want: answer{"POST", "i1", "", `{"count":2,"items":null,"open":false,"prices":null,"size":null}`}},
		{name: "maps and the context", handler: "app.App::context", item: item{"i1", encode(`{"custom":{"subject":"a/b","more":{"n":1}}}`), `{"k":[1,2.5,"\u00e4\n",null,true,12345678901234567890]}`},
			want: answer{"POST", "i1", "", `{"event":{"k":[1,2.5,"ä\u000a",null,true,12345678901234567890]},"custom":{"subject":"a/b","more":"{\"n\":1}"},"name":"Echo","version":"1","id":"i1","arn":"` + ownARN + `"}`},
			log:  "logged\n"},
		{name: "no payload is an empty object, a context that is not JSON is none", handler: "app.App::context", item: item{"i1", "%%%", ""},
			want: answer{"POST", "i1", "", `{"event":{},"custom":null,"name":"Echo","version":"1","id":"i1","arn":"` + ownARN + `"}`}, log: "Ignoring a client context"},
		{name: "the overload with most parameters", handler: "app.App::overloaded", item: item{"i1", "", `"x"`}, want: answer{"POST", "i1", "", `"two"`}},
		{name: "of equal ones that with a context", handler: "app.App::tie", item: item{"i1", "", `"x"`}, want: answer{"POST", "i1", "", `"context"`}},
		{name: "no parameters", handler: "app.App::none", item: item{"i1", "", `"x"`}, want: answer{"POST", "i1", "", "7"}},
		{name: "a static method", handler: "app.App::fixed", item: item{"i1", "", "1"}, want: answer{"POST", "i1", "", "2"}},
		{name: "nothing returned is null", handler: "app.App::nothing", item: item{"i1", "", "{}"}, want: answer{"POST", "i1", "", "null"}},
		{name: "a payload that is not JSON", handler: "app.App::nothing", item: item{"i1", "", "{"},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":"Failed to parse the payload as JSON: unexpected end at character 2"}`}},
		{name: "a payload of another kind", handler: "app.App::fixed", item: item{"i1", "", `"x"`},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":"Failed to parse the payload as JSON: \"x\" is no int"}`}},
		{name: "an exception", handler: "app.App::keeps", item: item{"i1", "", `""`},
			want: answer{"POST", "i1", "Handled", `{"errorMessage":"bäd \ud83d\ude00","errorType":"java.lang.IllegalStateException","stackTrace":["app.App.keeps(App.java:`}, contains: true,
			log: "Uncaught exception in the handler: java.lang.IllegalStateException"},
		{name: "a result that JSON cannot hold", handler: "app.App::unfit", item: item{"i1", "", ""},
			want: answer{"POST", "i1", "Handled", "cannot be written as JSON"}, contains: true},
		{name: "streams", handler: "app.App::streams", environment: binaryEncoding, item: item{"i1", "", "\xe4a{\x00"}, want: answer{"POST", "i1", "", "\xc4A{\x00Echo"}},
		{name: "only what comes", handler: "app.App::in", environment: binaryEncoding, item: item{"i1", "", "x"}, want: answer{"POST", "i1", "", ""}},
		{name: "only what goes", handler: "app.App::out", item: item{"i1", "", "x"}, want: answer{"POST", "i1", "", "\xff"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			core := newFakeCore(t)
			p := core.runJava(t, code, test.handler, test.environment...)
			core.work <- test.item
			got := core.next(t)
			if test.contains && strings.Contains(got.body, test.want.body) {
				got.body = test.want.body
			}
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			p.Process.Kill()
			p.wait(t)
			if log := p.out.String() + p.err.String(); !strings.Contains(log, test.log) || !strings.Contains(log, "Running ["+ownARN+"]") {
				t.Errorf("log lacks %q:\n%s", test.log, log)
			}
		})
	}

	t.Run("it goes on after an error, in the same process and over one connection", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		core.fail <- http.StatusServiceUnavailable
		core.runJava(t, code, "app.App::keeps")
		core.work <- item{"i1", "", `""`}
		core.work <- item{"i2", "", `"x"`}
		if got := core.next(t); got.functionError != "Handled" {
			t.Errorf("got %q, want a handled error", got)
		}
		if got := core.next(t); got.body != "2" {
			t.Errorf("got %q, want 2", got)
		}
		if n := core.connections.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		core.CloseClientConnections()
		core.work <- item{"i3", "", `"x"`}
		if got := core.next(t); got.body != "3" {
			t.Errorf("got %q, want 3", got)
		}
	})

	for _, test := range []struct {
		name, handler string
		environment   []string
		want          string
	}{
		{"an unknown class", "app.Nobody::handle", nil, `class app.Nobody is neither at the root of the package nor in a jar of its lib folder`},
		{"an unknown method", "app.App::nobody", nil, `app.App has no public method nobody`},
		{"unfit parameters", "app.App::hidden", nil, `app.App has no public method hidden with parameters`},
		{"a handler of no form", "app.App::a::b", nil, `the handler must have the form`},
		{"no stream for a binary function", "app.App::none", binaryEncoding, `with parameters that a binary function takes`},
		{"a class that fails", "app.Broken::handle", nil, `Failed to import handler function "app.Broken::handle" due to exception: no sensor`},
		{"a class that cannot be made", "app.Lacks::handle", nil, `app.Lacks has no constructor without parameters`},
		{"an SDK that is too new", "app.App::none", []string{"GGC_MAX_INTERFACE_VERSION=1.4"}, `Failed to initialize Lambda runtime due to exception: the Greengrass Core SDK`},
	} {
		t.Run("it does not start with "+test.name, func(t *testing.T) {
			t.Parallel()
			core := newFakeCore(t)
			p := core.runJava(t, code, test.handler, test.environment...)
			core.startFails(t, p, test.want)
		})
	}

	t.Run("a refusal that does not say its length", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		core.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 431 Too Large\r\n\r\n431 of all")
			conn.Close()
		})
		p := core.runJava(t, code, "app.App::none")
		if status := p.wait(t); status != 1 || !strings.Contains(p.err.String(), "failed: HTTP Error 431: Too Large (431 of all)") {
			t.Errorf("status %d:\n%s", status, p.err.String())
		}
	})

	t.Run("System.exit in the handler ends it with that status", func(t *testing.T) {
		t.Parallel()
		core := newFakeCore(t)
		p := core.runJava(t, code, "app.App::leave")
		core.work <- item{"i1", "", ""}
		if status := p.wait(t); status != 7 {
			t.Errorf("status %d, want 7", status)
		}
	})
}

// TestJavaJackson: where a package has Jackson, that reads events and writes results.
func TestJavaJackson(t *testing.T) {
	t.Parallel()
	var libraries []string
	for _, name := range []string{"annotations", "core", "databind"} {
		path := "/usr/share/java/jackson-" + name + ".jar"
		if _, err := os.Stat(path); err != nil {
			t.Skip("Jackson (Debian's package libjackson2-databind-java) is not installed; install it to run this test")
		}
		libraries = append(libraries, path)
	}
	code := t.TempDir()
	standin.Write(t, code, standin.Java(t, extracted(t), map[string]string{"App.java": `
package app;
import com.fasterxml.jackson.annotation.*;
public class App {
    public static class Message {
        @JsonProperty("msg_text") private String text;
        @JsonIgnore public int secret = 1;
    }
    public Message handle(Message in) { in.text += "!"; return in; }
}
`}, libraries...))
	core := newFakeCore(t)
	core.runJava(t, code, "app.App::handle")
	core.work <- item{"i1", "", `{"msg_text":"hello","more":1}`}
	core.work <- item{"i2", "", `[]`}
	if got, want := core.next(t), (answer{"POST", "i1", "", `{"msg_text":"hello!"}`}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := core.next(t); got.functionError != "Handled" || !strings.Contains(got.body, "Failed to parse the payload as JSON: Cannot deserialize") {
		t.Errorf("got %q, want the failure of Jackson", got)
	}
}
