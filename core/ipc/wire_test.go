package ipc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/ipc"
)

func TestWire(t *testing.T) {
	t.Parallel()

	t.Run("the answer to an invocation names it and is empty, and its result always has the error header", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		result := func(payload string) answer {
			got := a.send(t, "POST", "/2016-11-01/functions/"+other, payload)
			id := got.header.Get("X-Amz-InvocationId")
			if id == "" || got.body != "" {
				t.Errorf("got %+v", got)
			}
			return a.send(t, "GET", "/2016-11-01/functions/"+other, "", "X-Amz-InvocationId", id)
		}
		got := result("x")
		if value, ok := got.header["X-Amz-Function-Error"]; !ok || value[0] != "" || got.body != "result" {
			t.Errorf("success: %+v", got)
		}
		got = result("raise")
		if got.header.Get("X-Amz-Function-Error") != "Handled" || got.body != `{"errorMessage":"x"}` {
			t.Errorf("error: %+v", got)
		}
	})

	t.Run("a system function's result is handed out once, to its caller", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		const path = "/2016-11-01/functions/arn:aws:lambda:::function:GGShadowService"
		id := a.send(t, "POST", path, "").header.Get("X-Amz-InvocationId")
		wrong := a.send(t, "GET", "/2016-11-01/functions/arn:aws:lambda:::function:GGRouter", "", "X-Amz-InvocationId", id)
		first := a.send(t, "GET", path, "", "X-Amz-InvocationId", id)
		second := a.send(t, "GET", path, "", "X-Amz-InvocationId", id)
		if wrong.status != 404 || first.status != 200 || first.body != "document" || second.status != 404 {
			t.Errorf("got %+v, then %+v, then %+v", wrong, first, second)
		}
	})

	t.Run("a result is its caller's, and work its function's", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		const path = "/2016-11-01/functions/"
		id := a.send(t, "POST", path+other, "x").header.Get("X-Amz-InvocationId")
		if got := a.send(t, "GET", path+other, "", "X-Amz-InvocationId", id, "Authorization", second); got.status != 404 {
			t.Errorf("another worker got the result: %+v", got)
		}
		if got := a.send(t, "GET", path+other, "", "X-Amz-InvocationId", id); got.status != 200 {
			t.Errorf("the caller got %+v", got)
		}
		if got := a.send(t, "GET", path+own+"/work", "", "Authorization", second); got.status != 403 {
			t.Errorf("another function's work: %+v", got)
		}
	})

	t.Run("an event's result is not kept", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		const path = "/2016-11-01/functions/arn:aws:lambda:::function:GGShadowService"
		id := a.send(t, "POST", path, "", "X-Amz-Invocation-Type", "Event").header.Get("X-Amz-InvocationId")
		if got := a.send(t, "GET", path, "", "X-Amz-InvocationId", id); got.status != 404 {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("a poll waits for work", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		answers := make(chan answer, 1)
		go func() { answers <- a.send(t, "GET", "/2016-11-01/functions/"+own+"/work", "") }()
		<-a.polling
		a.work <- invoke.Work{ID: "id7", ClientContext: "Y3R4", Payload: []byte("event")}
		got := <-answers
		if got.status != 200 || got.body != "event" || got.header.Get("X-Amz-InvocationId") != "id7" || got.header.Get("X-Amz-Client-Context") != "Y3R4" {
			t.Errorf("got %+v", got)
		}
		go func() { answers <- a.send(t, "GET", "/2016-11-01/functions/"+own+"/work", "") }()
		<-a.polling
		a.work <- invoke.Work{ID: "id8"}
		got = <-answers
		if _, ok := got.header["X-Amz-Client-Context"]; !ok || got.body != "" {
			t.Errorf("an item without context and payload: %+v", got)
		}
	})

	t.Run("a poll ends with its caller", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /2016-11-01/functions/%s/work HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: %s\r\n\r\n", own, a.port, token)
		<-a.polling
		conn.Close()
		// The poll is over when the server can stop without breaking it off.
		if err := a.shutdown(); err != nil {
			t.Error(err)
		}
		select {
		case id := <-a.back:
			t.Errorf("%s came back although it was never handed out", id)
		default:
		}
	})

	t.Run("stopping breaks a poll by closing its connection", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /2016-11-01/functions/%s/work HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: %s\r\n\r\n", own, a.port, token)
		<-a.polling
		if err := a.shutdown(); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
			t.Errorf("got %q, %v, want the end of the connection", rest, err)
		}
	})

	t.Run("connections are kept, chunks and expectations understood", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		head := fmt.Sprintf("POST /2016-11-01/functions/%s HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: %s\r\n", other, a.port, token)
		fmt.Fprint(conn, head+"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 200 {
			t.Fatalf("chunked: %v %v", response, err)
		}
		fmt.Fprint(conn, head+"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("expectation: %q %v", line, err)
		}
		if _, err := reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "def")
		if response, err = http.ReadResponse(reader, nil); err != nil || response.StatusCode != 200 {
			t.Fatalf("after the expectation: %v %v", response, err)
		}
		want := []string{"invoke by w1: " + other + " RequestResponse  abc", "invoke by w1: " + other + " RequestResponse  def"}
		if diff := cmp.Diff(want, a.take()); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("an expectation without a token is refused before the body", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /2016-11-01/functions/%s HTTP/1.1\r\nHost: localhost:%d\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", other, a.port)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != 401 {
			t.Errorf("got %v %v", response, err)
		}
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	a := start(t)
	all := `[{"FuncArn":"` + own + `","WorkerId":"w1","ProcessId":"41","WorkerState":"Working"},` +
		`{"FuncArn":"` + own + `","WorkerId":"w2","ProcessId":"42","WorkerState":"Waiting"},` +
		`{"FuncArn":"` + other + `","WorkerId":"w3","ProcessId":"0","WorkerState":"NotStarted"}]`
	tests := []struct {
		name, method, body string
		status             int
		want               string
	}{
		{"all", "GET", "", 200, all},
		{"one", "POST", `{"FuncArns":["` + other + `"]}`, 200,
			`{"Workers":[{"FuncArn":"` + other + `","WorkerId":"w3","ProcessId":"0","WorkerState":"NotStarted"}],"InvalidArns":[]}`},
		{"unknown and malformed ones", "POST", `{"FuncArns":["` + other + `x","y","y"]}`, 200,
			`{"Workers":[],"InvalidArns":["` + other + `x","y"]}`},
		{"none", "POST", `{"FuncArns":[]}`, 400, "Invalid request\n"},
		{"no list", "POST", `{"FuncArns":"x"}`, 400, "Invalid request\n"},
		{"nothing", "POST", ``, 400, "Invalid request\n"},
		{"more than there are", "POST", `{"FuncArns":["a","b","c","d"]}`, 400, "Request exceeds max number of workers\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := a.send(t, test.method, "/2016-11-01/health/workers", test.body, "Authorization", "-")
			if got.status != test.status || got.body != test.want {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, test.status, test.want)
			}
		})
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	t.Run("a port that is taken is named", func(t *testing.T) {
		t.Parallel()
		taken, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		port := taken.Addr().(*net.TCPAddr).Port
		if _, err = ipc.Listen(port); err == nil || !strings.Contains(err.Error(), fmt.Sprint(port)) {
			t.Errorf("got %v, want an error that names the port", err)
		}
	})
	t.Run("a port that is taken on IPv6 only is refused too", func(t *testing.T) {
		t.Parallel()
		taken, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			t.Skip("this machine has no IPv6 loopback address; give it one to run this test:", err)
		}
		defer taken.Close()
		if l, err := ipc.Listen(taken.Addr().(*net.TCPAddr).Port); err == nil {
			l.Close()
			t.Error("an outsider on [::1] would be sent the tokens")
		}
	})
	t.Run("only the loopback addresses are served", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range addresses {
			ip := address.(*net.IPNet).IP
			if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
				continue
			}
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), fmt.Sprint(a.port)), 5*time.Second)
			if err == nil {
				conn.Close()
				t.Errorf("%s is served", ip)
			}
		}
	})
}
