package ipc_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/fescue-edge/fescue/core/invoke"
)

// TestPatientPoll: a worker waits for work for as long as there is none, beyond
// every deadline that its request has.
func TestPatientPoll(t *testing.T) {
	t.Parallel()
	a := start(t)
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
	case <-time.After(12 * time.Second): // a request has to be there within 10 s
	}
	a.work <- invoke.Work{ID: "late", Payload: []byte("x")}
	if how := <-ended; how != "200x<nil>" {
		t.Error(how)
	}
}
