// Command subject is the executable function whose versions the fault harness
// deploys. MODE says how it behaves.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// asked is called when work has been asked for.
var asked = func() {}

func main() {
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		os.Exit(0)
	}()
	switch mode := os.Getenv("MODE"); mode {
	case "crash at start":
		fmt.Fprintln(os.Stderr, "no such sensor")
		os.Exit(3)
	case "crash later":
		// Not before it has asked for work, however busy the machine is.
		asked = func() {
			time.AfterFunc(700*time.Millisecond, func() {
				fmt.Fprintln(os.Stderr, "the sensor is gone")
				os.Exit(4)
			})
			asked = func() {}
		}
	case "mute":
		for {
			time.Sleep(time.Hour)
		}
	}
	for {
		if err := askForWork(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// askForWork waits for an invocation and answers it with nothing.
func askForWork() error {
	path := "/2016-11-01/functions/" + os.Getenv("MY_FUNCTION_ARN") + "/work"
	header, err := call("GET", path, "")
	if err != nil {
		return err
	}
	_, err = call("POST", path, header["x-amz-invocationid"])
	return err
}

// call speaks just enough HTTP: the program is to be small.
func call(method, path, invocation string) (map[string]string, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+os.Getenv("GG_DAEMON_PORT"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\nContent-Length: 0\r\nAuthorization: %s\r\n",
		method, path, os.Getenv("GG_DAEMON_PORT"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	if invocation != "" {
		fmt.Fprintf(conn, "X-Amz-InvocationId: %s\r\n", invocation)
	}
	fmt.Fprint(conn, "\r\n")
	if method == "GET" {
		asked()
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil, fmt.Errorf("answer %q", line)
	}
	if status, _ := strconv.Atoi(words[1]); status/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s", method, path, strings.TrimSpace(line))
	}
	header := make(map[string]string)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			break
		}
		header[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	_, err = io.Copy(io.Discard, r)
	return header, err
}
