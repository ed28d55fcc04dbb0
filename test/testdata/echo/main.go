// Command echo is an executable Greengrass function for the tests. It speaks the
// core's local HTTP API directly: it publishes what it is sent, under the topic
// in OUT, and once at its start. With EVERY, a duration, it publishes numbers from
// 1 on, one each time. With MUTE it never asks for work.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		os.Exit(0)
	}()
	self := os.Getenv("MY_FUNCTION_ARN")
	publish([]byte(fmt.Sprintf("started %s pid=%d", os.Getenv("TAG"), os.Getpid())))
	if every, err := time.ParseDuration(os.Getenv("EVERY")); err == nil {
		go func() {
			for n := 1; ; n++ {
				publish([]byte(fmt.Sprintf("count %d pid=%d", n, os.Getpid())))
				time.Sleep(every)
			}
		}()
	}
	for os.Getenv("MUTE") != "" {
		time.Sleep(time.Hour)
	}
	for {
		resp := call(http.MethodGet, self+"/work", nil, nil)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			panic(err)
		}
		publish(append([]byte("echo "), body...))
		call(http.MethodPost, self+"/work", http.Header{"X-Amz-Invocationid": {resp.Header.Get("X-Amz-Invocationid")}}, body).Body.Close()
	}
}

func publish(payload []byte) {
	context := fmt.Sprintf(`{"custom":{"source":%q,"subject":%q}}`, os.Getenv("MY_FUNCTION_ARN"), os.Getenv("OUT"))
	call(http.MethodPost, os.Getenv("ROUTER_FUNCTION_ARN"), http.Header{
		"X-Amz-Client-Context":  {base64.StdEncoding.EncodeToString([]byte(context))},
		"X-Amz-Invocation-Type": {"Event"},
	}, payload).Body.Close()
}

func call(method, path string, header http.Header, body []byte) *http.Response {
	url := "http://localhost:" + os.Getenv("GG_DAEMON_PORT") + "/2016-11-01/functions/" + path
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Authorization", os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	if resp.StatusCode/100 != 2 {
		panic(method + " " + url + ": " + resp.Status)
	}
	return resp
}
