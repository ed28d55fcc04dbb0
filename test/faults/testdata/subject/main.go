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
	for line := range strings.Lines(os.Getenv("GIVEN")) {
		what, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := find(what, name); err != nil {
			fmt.Fprintln(os.Stderr, "what it was given is not there:", err)
			os.Exit(5)
		}
	}
	for {
		if err := askForWork(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// find looks for what the function was given; each has the version's tag.
func find(what, name string) error {
	got, want := "", os.Getenv("TAG")
	switch what {
	case "file":
		text, err := os.ReadFile(strings.TrimSuffix(os.Getenv("AWS_GG_RESOURCE_PREFIX"), "/") + name)
		if err != nil {
			return err
		}
		got = string(text)
	case "device":
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(f, make([]byte, 16)); err != nil {
			return err
		}
		got = want
	case "secret":
		// The core may be on its way down or up.
		var answer string
		for {
			var err error
			if answer, err = secret(name); err == nil {
				break
			}
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(100 * time.Millisecond)
		}
		_, value, _ := strings.Cut(answer, `"SecretString":"`)
		value, _, _ = strings.Cut(value, `"`)
		got = value[strings.LastIndexByte(value, '-')+1:]
	}
	if got != want {
		return fmt.Errorf("%s %s is of %q", what, name, got)
	}
	return nil
}

// secret asks for a secret's value.
func secret(name string) (answer string, err error) {
	path := "/2016-11-01/functions/" + os.Getenv("SECRETS_MANAGER_FUNCTION_ARN")
	header, _, err := call("POST", path, "", `{"SecretId":"`+name+`"}`)
	if err == nil {
		_, answer, err = call("GET", path, header["x-amz-invocationid"], "")
	}
	return answer, err
}

// askForWork waits for an invocation and answers it with nothing.
func askForWork() error {
	path := "/2016-11-01/functions/" + os.Getenv("MY_FUNCTION_ARN") + "/work"
	header, _, err := call("GET", path, "", "")
	if err != nil {
		return err
	}
	_, _, err = call("POST", path, header["x-amz-invocationid"], "")
	return err
}

// call speaks just enough HTTP: the program is to be small.
func call(method, path, invocation, body string) (header map[string]string, answer string, err error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+os.Getenv("GG_DAEMON_PORT"))
	if err != nil {
		return nil, "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\nContent-Length: %d\r\nAuthorization: %s\r\n",
		method, path, os.Getenv("GG_DAEMON_PORT"), len(body), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	if invocation != "" {
		fmt.Fprintf(conn, "X-Amz-InvocationId: %s\r\n", invocation)
	}
	fmt.Fprint(conn, "\r\n", body)
	if strings.HasSuffix(path, "/work") && method == "GET" {
		asked()
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, "", err
	}
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil, "", fmt.Errorf("answer %q", line)
	}
	if status, _ := strconv.Atoi(words[1]); status/100 != 2 {
		return nil, "", fmt.Errorf("%s %s: %s", method, path, strings.TrimSpace(line))
	}
	header = make(map[string]string)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, "", err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			break
		}
		header[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	text, err := io.ReadAll(r)
	return header, string(text), err
}
