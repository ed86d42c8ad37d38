package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

type script struct{ path, early, content, last, limit string }

// scripts are streams of each API: what comes before content, content, the end, and a
// limit. Line ends differ on purpose.
var scripts = map[api]script{
	messages: {
		messagesPath,
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\n: comment\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"an \\\"error\\\": rate_limit_error\"}}\n\n",
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"limit\"}}\n\n",
	},
	responses: {
		responsesPath,
		"data: {\"type\":\"response.created\"}\r\n\r\ndata: {\"type\":\"response.in_progress\"}\r\n\r\n",
		"data: {\"type\":\"response.output_item.added\"}\r\n\r\ndata:{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\r\n\r\n",
		"data: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\r\n\r\n",
		"data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"usage_limit_reached\",\"message\":\"limit\",\"resets_in_seconds\":900}}}\r\n\r\n",
	},
	chat: {
		chatPath,
		": PROCESSING\r\rdata: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\r\r",
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\r\r",
		"data: [DONE]\r\r",
		"data: {\"error\":{\"code\":\"rate_limit_exceeded\",\ndata: \"message\":\"limit\"}}\r\r",
	},
	gemini: {
		geminiPath,
		"",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}\n\n",
		"",
		"data: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"limit\"}}\n\n",
	},
}

// Wherever a stream is cut into pieces, it comes out as it went in; a limit before
// content is seen before anything comes out, and one after content before it does.
func TestStreamsInAnyPieces(t *testing.T) {
	t.Parallel()
	for a, s := range scripts {
		for name, test := range map[string]struct {
			text           string
			refused, limit bool
		}{
			"answer":           {s.early + s.content + s.last, false, false},
			"limit at once":    {s.limit, true, true},
			"limit then":       {s.early + s.limit, true, true},
			"limit in content": {s.early + s.content + s.limit, false, true},
			"limit at the end": {s.early + s.content + s.content + strings.TrimRight(s.limit, "\r\n"), false, true},
		} {
			for cut := 0; cut <= len(test.text); cut++ {
				from := io.MultiReader(strings.NewReader(test.text[:cut]), strings.NewReader(test.text[cut:]))
				checkStream(t, a, name, from, test.text, test.refused, test.limit)
			}
			checkStream(t, a, name+", byte by byte", iotest.OneByteReader(strings.NewReader(test.text)), test.text, test.refused, test.limit)
		}
	}
}

func checkStream(t *testing.T, a api, name string, from io.Reader, text string, refused, limit bool) {
	t.Helper()
	s := newStream(io.NopCloser(from), a)
	var out bytes.Buffer
	told := ""
	got := s.open(t.Context(), func(data []byte) {
		told = string(data)
		if out.Len() == len(text) && strings.HasSuffix(text, "\n\n") { // else the stream's end ends it
			t.Errorf("%v, %s: the limit was told of after it came out", a, name)
		}
	})
	if got != refused || got && s.refusal == nil {
		t.Errorf("%v, %s: refused %t, want %t", a, name, got, refused)
	}
	if _, err := io.Copy(&out, s); err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && !s.ended) {
		t.Errorf("%v, %s: %v", a, name, err)
	}
	if out.String() != text {
		t.Errorf("%v, %s: out came %q, want %q", a, name, out.String(), text)
	}
	if (told != "") != (limit && !refused) {
		t.Errorf("%v, %s: told of %q", a, name, told)
	}
}

// The same through the whole proxy, cut at every byte by the network: one answer has
// one beginning, and nobody hears of a limit before content.
func TestStreamFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for a, s := range scripts {
		good := s.early + s.content + s.last
		bad := s.early + s.limit
		step := proofs.Size(7, 1)
		for cut := 0; cut <= len(bad); cut += step {
			w.free("ada", "bob")
			w.api.will(either("ada", streams(bad[:cut], bad[cut:]), streams(good)))
			res := w.post(s.path, aModel)
			if res.err != nil || res.body != good || w.api.asked() != "ada bob" {
				t.Fatalf("%v, limit cut at %d: %v, %q after %q", a, cut, res.err, res.body, w.api.asked())
			}
		}
		if got := w.holds("ada"); got == "" {
			t.Errorf("%v: ada is free", a)
		}
		// A connection that breaks is nobody's fault, and nothing is sent again.
		for cut := 0; cut <= len(good)-1; cut += 2 * step {
			w.free("ada", "bob")
			w.api.will(streams(good[:cut], "CUT"))
			res := w.post(s.path, aModel)
			if w.api.asked() != "ada" || w.holds("ada") != "" || !strings.HasPrefix(good, res.body) && res.status != 502 {
				t.Fatalf("%v, broken at %d: %d %q after %q, held %q", a, cut, res.status, res.body, w.api.asked(), w.holds("ada"))
			}
			if res.err == nil && res.status == 200 {
				t.Fatalf("%v, broken at %d: the answer ends as a whole one: %q", a, cut, res.body)
			}
		}
	}
}

// The client asks again within milliseconds of a limit that came after content: the
// account is held by then.
func TestLimitAfterContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for a, s := range scripts {
		w.free("ada", "bob")
		text := s.early + s.content + s.limit
		w.api.will(either("ada", streams(s.early, s.content, s.limit), limits(0, nil, "")))
		res := w.post(s.path, aModel)
		if held := w.holds("ada"); held == "" {
			t.Errorf("%v: ada is free", a)
		}
		if res.body != text || w.api.asked() != "ada" {
			t.Errorf("%v: %q after %q", a, res.body, w.api.asked())
		}
		if twin := w.post(s.path, aModel); twin.body != "ok bob" {
			t.Errorf("%v: the twin got %q", a, twin.body)
		}
	}
}

// A stream that ends without its last event is a broken one for the client as well.
func TestStreamWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for a, s := range scripts {
		w.free("ada", "bob")
		w.api.will(streams(s.early + s.content))
		res := w.post(s.path, aModel)
		if broken := res.err != nil; broken != (len(lasts[a]) > 0) || res.body != s.early+s.content {
			t.Errorf("%v: %v, %q", a, res.err, res.body)
		}
		if w.api.asked() != "ada" || w.holds("ada") != "" {
			t.Errorf("%v: asked %q, held %q", a, w.api.asked(), w.holds("ada"))
		}
	}
}

// What is compressed, too long, or no stream of this API passes unread.
func TestStreamsThatAreNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	limit := scripts[messages].limit
	for name, test := range map[string]struct {
		path   string
		header [2]string
		body   string
	}{
		"compressed":   {messagesPath, [2]string{"Content-Encoding", "gzip"}, limit},
		"no API":       {"/v1/files", [2]string{}, limit},
		"not events":   {messagesPath, [2]string{"Content-Type", "text/plain"}, limit},
		"long prelude": {messagesPath, [2]string{}, strings.Repeat(": x\n", maxHeld/4) + limit},
		"long event":   {messagesPath, [2]string{}, "data: " + strings.Repeat("x", 2*maxEvent) + "\n\n" + limit},
	} {
		w.free("ada", "bob")
		w.api.will(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			if test.header[0] != "" {
				rw.Header().Set(test.header[0], test.header[1])
			}
			_, _ = io.WriteString(rw, test.body)
		})
		res := w.post(test.path, aModel)
		if res.body != test.body || res.err != nil || w.api.asked() != "ada" {
			t.Errorf("%s: %v, %d bytes of %d after %q", name, res.err, len(res.body), len(test.body), w.api.asked())
		}
	}
}

// A stream that says nothing for long begins all the same.
func TestSlowStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := newStream(r, messages)
		go func() {
			_, _ = io.WriteString(w, scripts[messages].early)
			time.Sleep(time.Minute)
			_, _ = io.WriteString(w, scripts[messages].limit)
			_ = w.Close()
		}()
		started, told := time.Now(), false
		if s.open(t.Context(), func([]byte) { told = true }) {
			t.Error("refused by what hasn't come yet")
		}
		if took := time.Since(started); took != maxPatience {
			t.Errorf("it began after %v, want %v", took, maxPatience)
		}
		all, err := io.ReadAll(s)
		if err != nil || string(all) != scripts[messages].early+scripts[messages].limit || !told {
			t.Errorf("%v, told %t: %q", err, told, all)
		}
	})
}

// An API that falls silent for good ends the answer, as a broken one.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		body := watch(r, func() { _ = w.CloseWithError(context.Canceled) })
		go func() {
			for range 3 {
				time.Sleep(silence - time.Second)
				_, _ = io.WriteString(w, "x")
			}
		}()
		started := time.Now()
		all, err := io.ReadAll(body)
		if string(all) != "xxx" || !errors.Is(err, context.Canceled) || time.Since(started) != 4*silence-3*time.Second {
			t.Errorf("%q, %v after %v", all, err, time.Since(started))
		}
		testenv.Check(t, body.Close())
	})
}

// A stream that is left while a read is under way leaves nothing behind.
func TestLeftStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := newStream(r, messages)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if s.open(ctx, func([]byte) {}) {
			t.Error("refused")
		}
		_ = s.Close()
		_ = w.Close()
	})
}

func FuzzStream(f *testing.F) {
	for a, s := range scripts {
		f.Add(int(a), []byte(s.early+s.content+s.last), []byte{1})
		f.Add(int(a), []byte(s.early+s.limit), []byte{3, 1})
		f.Add(int(a), []byte(s.content+s.limit), []byte{200})
		f.Add(int(a), []byte("\ufeff"+s.limit), []byte{0})
	}
	f.Fuzz(func(t *testing.T, kind int, text, pieces []byte) {
		a := api(uint(kind) % 5)
		var from []io.Reader
		rest := text
		for _, n := range pieces {
			n := min(int(n), len(rest))
			from = append(from, bytes.NewReader(rest[:n]))
			rest = rest[n:]
		}
		cut := newStream(io.NopCloser(io.MultiReader(append(from, bytes.NewReader(rest))...)), a)
		whole := newStream(io.NopCloser(bytes.NewReader(text)), a)
		var told [2][]byte
		refused := [2]bool{
			cut.open(t.Context(), func(data []byte) { told[0] = data }),
			whole.open(t.Context(), func(data []byte) { told[1] = data }),
		}
		if refused[0] != refused[1] && len(text) < maxHeld {
			t.Errorf("refused in pieces: %t, as a whole: %t", refused[0], refused[1])
		}
		for _, s := range []*stream{cut, whole} {
			if out, _ := io.ReadAll(s); !bytes.Equal(out, text) {
				t.Errorf("out came %q, want %q", out, text)
			}
		}
		if !bytes.Equal(told[0], told[1]) || !bytes.Equal(cut.refusal, whole.refusal) || cut.ended != whole.ended {
			t.Errorf("told %q and %q, refused %q and %q", told[0], told[1], cut.refusal, whole.refusal)
		}
	})
}
