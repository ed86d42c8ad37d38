// Reverse is the least that a proxy in Go can be: httputil.ReverseProxy in front of the URL
// that it is given. It prints its own, and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	target, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it waits for nothing
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s key\n", l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // #nosec G114 -- the bench is its only client
		_ = http.NewResponseController(w).EnableFullDuplex() // else now and then a big request's last read fails, and its answer with it
		proxy.ServeHTTP(w, r)
	})))
}
