// Command bare answers every request with the same bytes: the baseline that the
// API is measured against.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	body := []byte(os.Args[1])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("api=%s\n", l.Addr())
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})))
}
