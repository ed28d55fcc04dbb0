package ipc_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/core/ipc"
	"github.com/fescue-edge/fescue/testkit"
)

// connect opens a connection and sends text on it, in which PORT is replaced.
func (a *api) connect(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "PORT", fmt.Sprint(a.port))); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ends says whether the other side ends a connection within a time, and with
// which status before, 0 for none.
func ends(t *testing.T, conn net.Conn, within time.Duration) (status int, ended bool) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	if response, err := http.ReadResponse(reader, nil); err == nil {
		status = response.StatusCode
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, false
	}
	_, err := io.Copy(io.Discard, reader)
	return status, !errors.Is(err, os.ErrDeadlineExceeded)
}

const (
	head       = " HTTP/1.1\r\nHost: localhost:PORT\r\n"
	authorized = head + "Authorization: " + token + "\r\n"
)

func TestBodiesThatNeverCome(t *testing.T) {
	t.Parallel()
	a := startWith(t, 100, ipc.Times{Header: 200 * time.Millisecond, Request: 300 * time.Millisecond, Room: 300 * time.Millisecond})
	requests := []string{
		"",
		"POST / HTT",
		"POST /" + head + "X-Slow: ",
		"POST /" + head + "Content-Length: 100\r\n\r\n",
		"POST /" + head + "Transfer-Encoding: chunked\r\n\r\n",
		"GET /2016-11-01/health/workers" + head + "Content-Length: 1000000\r\n\r\n",
		"POST /2016-11-01/health/workers" + head + "Content-Length: 100\r\n\r\n{",
		"POST /2016-11-01/health/workers" + head + "Transfer-Encoding: chunked\r\n\r\n",
		"GET /2016-11-01/credentialprovider/" + head + "Content-Length: 100\r\n\r\n",
		"POST /2016-11-01/functions/" + own + head + "Content-Length: 100\r\n\r\n",
		"GET /2016-11-01/functions/" + own + "/work" + head + "Content-Length: 100\r\n\r\n",
		"POST /2016-11-01/functions/" + own + authorized + "Content-Length: 100\r\n\r\n",
		"POST /2016-11-01/functions/" + own + authorized + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
		"POST /2016-11-01/functions/" + own + "/work" + authorized + "X-Amz-InvocationId: 1\r\nContent-Length: 1000000\r\n\r\n",
		"GET /2016-11-01/functions/" + own + "/work" + authorized + "Content-Length: 100\r\n\r\n",
		"PUT /2016-11-01/functions/" + other + "/initialized" + authorized + "Content-Length: 100\r\n\r\n",
		"POST /2016-11-01/cloudwatch/logs/" + authorized + "Content-Length: 1000\r\n\r\n",
	}
	var conns []net.Conn
	for _, request := range requests {
		conns = append(conns, a.connect(t, request))
	}
	for i, request := range requests {
		t.Run(strings.ReplaceAll(request, "\r\n", " "), func(t *testing.T) {
			if status, ended := ends(t, conns[i], 40*time.Second); !ended {
				t.Errorf("the connection is held for ever (status %d)", status)
			}
		})
	}
}

func TestBoundsBeforeAToken(t *testing.T) {
	t.Parallel()

	t.Run("a large body is refused by its head", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn := a.connect(t, "POST /2016-11-01/health/workers"+head+"Content-Length: 1048576\r\n\r\n")
		if status, ended := ends(t, conn, 5*time.Second); status != http.StatusRequestEntityTooLarge || !ended {
			t.Errorf("status %d, ended %v; want 413 and the end", status, ended)
		}
	})

	t.Run("connections without one give way to each other, not workers' to them", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		poll := a.connect(t, "GET /2016-11-01/functions/"+own+"/work"+authorized+"\r\n")
		<-a.polling
		var outsiders []net.Conn
		for range 600 {
			outsiders = append(outsiders, a.connect(t, "POST /2016-11-01/health/workers"+head+"Content-Length: 100\r\n\r\n"))
		}
		if _, ended := ends(t, outsiders[0], 8*time.Second); !ended {
			t.Error("the oldest of 600 connections is still open")
		}
		if _, ended := ends(t, outsiders[len(outsiders)-1], time.Millisecond); ended {
			t.Error("the newest connection was ended")
		}
		if got := a.send(t, "POST", "/2016-11-01/functions/"+other, "x"); got.status != http.StatusOK {
			t.Errorf("a worker's call beside them: %+v", got)
		}
		if _, ended := ends(t, poll, time.Millisecond); ended {
			t.Error("a worker's poll was ended")
		}
	})
}

func TestBoundsOfAWorker(t *testing.T) {
	t.Parallel()

	t.Run("connections", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		a.polling = make(chan struct{}, 300)
		var refused int
		for range 300 {
			conn := a.connect(t, "GET /2016-11-01/functions/"+own+"/work"+authorized+"\r\n")
			select {
			case <-a.polling:
			case status := <-answered(t, conn):
				if status != http.StatusTooManyRequests {
					t.Fatalf("status %d", status)
				}
				refused++
			}
		}
		if refused != 300-256 {
			t.Errorf("%d of 300 connections were refused", refused)
		}
		if got := a.send(t, "GET", "/2016-11-01/health/workers", "", "Authorization", "-"); got.status != http.StatusOK {
			t.Errorf("the health API beside them: %+v", got)
		}
		if got := a.send(t, "POST", "/2016-11-01/functions/"+other, "x", "Authorization", second); got.status != http.StatusOK {
			t.Errorf("another worker beside them: %+v", got)
		}
	})

	t.Run("bodies that it sends at a time", func(t *testing.T) {
		t.Parallel()
		a := startWith(t, 6<<20, ipc.Times{Request: time.Second, Room: 300 * time.Millisecond})
		large := "POST /2016-11-01/functions/" + other + authorized + "Content-Length: 6291456\r\n\r\n"
		conns := []net.Conn{a.connect(t, large), a.connect(t, large), a.connect(t, large)}
		if got := a.send(t, "POST", "/2016-11-01/functions/"+other, "small"); got.status != http.StatusOK {
			t.Errorf("a small call beside them: %+v", got)
		}
		if got := a.send(t, "POST", "/2016-11-01/functions/"+other, strings.Repeat("x", 6<<20), "Authorization", second); got.status != http.StatusOK {
			t.Errorf("a large call of another worker beside them: %+v", got)
		}
		// Two are read, whichever came first.
		var status int
		select {
		case status = <-answered(t, conns[0]):
		case status = <-answered(t, conns[1]):
		case status = <-answered(t, conns[2]):
		}
		if status != http.StatusTooManyRequests {
			t.Errorf("one of three large ones: status %d, want 429", status)
		}
		for _, conn := range conns {
			conn.Close()
		}
		if got := a.send(t, "POST", "/2016-11-01/functions/"+other, strings.Repeat("x", 6<<20)); got.status != http.StatusOK {
			t.Errorf("a large call when they are gone: %+v", got)
		}
	})

	t.Run("a result that turns out to be too large", func(t *testing.T) {
		t.Parallel()
		a := start(t)
		conn := a.connect(t, "POST /2016-11-01/functions/"+own+"/work"+authorized+"X-Amz-InvocationId: id1\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 20 {
			fmt.Fprintf(conn, "%x\r\n%s\r\n", 100000, strings.Repeat("x", 100000))
		}
		want := []string{`complete by w1: id1 Unhandled{"errorMessage":"the function's result has more than 100 bytes; the core passes on at most 100"}`}
		testkit.Until(t, "the item's end", func() bool { return cmp.Equal(a.peek(), want) })
		fmt.Fprint(conn, "0\r\n\r\n")
		if status := <-answered(t, conn); status != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", status)
		}
	})
}

// answered gives the status of the next answer, 0 if none comes.
func answered(t *testing.T, conn net.Conn) <-chan int {
	t.Helper()
	status := make(chan int, 1)
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	return status
}
