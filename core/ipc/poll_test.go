package ipc_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
	"github.com/fescue-edge/fescue/core/ipc"
)

// TestPatientPoll: a worker waits for work for as long as there is none, beyond
// every deadline that its request has.
func TestPatientPoll(t *testing.T) {
	t.Parallel()
	times := ipc.Times{Request: time.Second}
	a := startWith(t, 100, times)
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://localhost:%d/2016-11-01/functions/%s/work", a.port, own), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", token)
	ended := make(chan string, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			ended <- err.Error()
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		ended <- fmt.Sprint(response.StatusCode, string(body), err)
	}()
	<-a.polling
	select {
	case how := <-ended:
		t.Fatalf("the poll ended by itself: %s", how)
	case <-time.After(times.Request * 5 / 4): // within which a request has to be there
	}
	a.work <- invoke.Work{ID: "late", Payload: []byte("x")}
	if how := <-ended; how != "200x<nil>" {
		t.Error(how)
	}
}
