// Pump is the least that a bridge of the Model Context Protocol in Go can be: each line of
// stdin is posted to the URL that it is given, with the header that it is given, and the
// answer is a line of stdout.
package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
)

func main() {
	lines, out := bufio.NewReaderSize(os.Stdin, 64<<10), bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		req, err := http.NewRequest(http.MethodPost, os.Args[1], bytes.NewReader(bytes.TrimSpace(line))) //nolint:noctx,gosec // the bench says where, and ends it
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", os.Args[2])
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		res, err := http.DefaultTransport.RoundTrip(req) //nolint:forbidigo // the bench ends it
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(out, res.Body)
		_ = res.Body.Close()
		_ = out.WriteByte('\n')
		_ = out.Flush()
	}
}
