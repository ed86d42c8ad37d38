package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a stream of the model API is: something before content, content, more of it, its end.
const (
	opening = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n"
	begun   = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
	ending  = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	// chunk has the time in it at which it was sent.
	chunk = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"at %d.\"}}\n\n"
)

const (
	chunks = 100 // of a paced stream: an answer of two seconds
	pace   = 20 * time.Millisecond
)

// modelAPI answers as the request's body asks for: at once, paced, or idle after the first
// content until the client leaves.
func modelAPI() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, opening+begun)
		w.(http.Flusher).Flush()
		switch {
		case bytes.Contains(body, []byte(`"kind":"idle"`)):
			<-r.Context().Done()
			return
		case bytes.Contains(body, []byte(`"kind":"paced"`)):
			for range chunks {
				time.Sleep(pace)
				_, _ = fmt.Fprintf(w, chunk, time.Now().UnixNano())
				w.(http.Flusher).Flush()
			}
		}
		_, _ = io.WriteString(w, ending)
	}))
}

// prompt is a request's body of that size.
func prompt(kind string, size int) string {
	return `{"model":"m","stream":true,"metadata":{"kind":"` + kind + `"},"messages":[{"role":"user","content":"` + strings.Repeat("x", size) + `"}]}`
}

// stream is an answer that has begun: its first content is here.
type stream struct {
	lines *bufio.Scanner
	body  io.Closer
}

// open asks through way; took is how long the first content took.
func (w *way) open(ctx context.Context, body string) (s *stream, took time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("X-Api-Key", w.key)
	start := time.Now()
	res, err := w.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	s = &stream{bufio.NewScanner(res.Body), res.Body}
	for s.lines.Scan() {
		if strings.Contains(s.lines.Text(), `"content_block_start"`) {
			return s, time.Since(start), nil
		}
	}
	_ = res.Body.Close()
	return nil, 0, errors.Join(s.lines.Err(), fmt.Errorf("status %d, and no content", res.StatusCode))
}

// rest reads the stream to its end, and returns how late each chunk came.
func (s *stream) rest() (late []time.Duration, err error) {
	defer func() { _ = s.body.Close() }()
	ended := false
	for s.lines.Scan() {
		line := s.lines.Text()
		ended = ended || strings.Contains(line, `"message_stop"`)
		if _, at, found := strings.Cut(line, `"text":"at `); found {
			at, _, _ = strings.Cut(at, ".")
			sent, err := strconv.ParseInt(at, 10, 64)
			if err != nil {
				return nil, err
			}
			late = append(late, time.Since(time.Unix(0, sent)))
		}
	}
	if !ended {
		return nil, errors.Join(s.lines.Err(), errors.New("the stream has no end"))
	}
	return late, nil
}

// many opens n streams, so many of them at a time, and hands each to do.
func (w *way) many(ctx context.Context, n, opening int, body string, do func(*stream) error) error {
	failed, places := make([]error, n), make(chan bool, opening)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			places <- true
			s, _, err := w.open(ctx, body)
			<-places
			if err == nil {
				err = do(s)
			}
			failed[i] = err
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
