package bridge

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// read returns all events of a stream.
func readEvents(r io.Reader) (all []event, err error) {
	for e := newEvents(r); ; {
		ev, err := e.next()
		if err != nil {
			return all, err
		}
		ev.data = bytes.Clone(ev.data)
		all = append(all, ev)
	}
}

// A stream says the same in whatever pieces it comes and however its lines end.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"", "\n", "data: a\n\n", "data:a\r\n\r\n", "data: a\rdata: b\r\r", "\ufeffid: 1\ndata\n\n", "retry: 10\n\n", ": c\n\nevent: x\ndata: {}\n\nid\n\n", "data: a", "id: a\x00b\ndata:\n\n",
		"retry: 99999999999\ndata: x\n\n", "event: message\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: x\n\ndata: y\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, err := readEvents(strings.NewReader(s))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		ways := map[string]io.Reader{"bytes": iotest.OneByteReader(strings.NewReader(s)), "halves": iotest.HalfReader(strings.NewReader(s))}
		if !strings.Contains(s, "\r") {
			ways["CRLF"] = strings.NewReader(strings.ReplaceAll(s, "\n", "\r\n"))
			ways["CR"] = strings.NewReader(strings.ReplaceAll(s, "\n", "\r"))
		}
		for way, r := range ways {
			again, err := readEvents(r)
			if !errors.Is(err, io.EOF) || len(again) != len(whole) {
				t.Fatalf("%s: %d events, %v, and %d", way, len(again), err, len(whole))
			}
			for i, ev := range again {
				if ev.id != whole[i].id || ev.name != whole[i].name || ev.retry != whole[i].retry || !bytes.Equal(ev.data, whole[i].data) {
					t.Errorf("%s: %+v and %+v", way, ev, whole[i])
				}
			}
		}
		for _, ev := range whole {
			if strings.ContainsAny(ev.id, "\r\n\x00") || bytes.ContainsAny(ev.data, "\r") {
				t.Errorf("%+v", ev)
			}
		}
	})
}

// Lines are what is between line feeds, in whatever pieces they come.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"", "\n\n", "a", "a\n", " a \r\nb\n\n c", strings.Repeat("x", 70<<10) + "\ny"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want []string
		for line := range strings.SplitSeq(s, "\n") {
			if line = string(bytes.TrimSpace([]byte(line))); line != "" {
				want = append(want, line)
			}
		}
		l := newLines(iotest.HalfReader(strings.NewReader(s)))
		for _, line := range want {
			if got, err := l.next(); err != nil || string(got) != line {
				t.Fatalf("%q, %v, want %q", got, err, line)
			}
		}
		if got, err := l.next(); !errors.Is(err, io.EOF) || len(got) > 0 {
			t.Fatalf("%q, %v at the end", got, err)
		}
	})
}

// What is taken for a message is one line, and stays the same message when it is read
// again.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{hello, ready, welcome, ask(1, "x"), "[" + ask(1, "x") + "," + ready + "]", "{\"jsonrpc\":\"2.0\",\n\"id\":\"\\u0061\",\"error\":{}}", `{"jsonrpc":"2.0","id":1e5,"method":"a","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"requestId":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parse(text)
		if err != nil {
			return
		}
		line := m.line()
		if bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("%q is no line", line)
		}
		again, err := parse(line)
		if err != nil || len(again.parts) != len(m.parts) {
			t.Fatalf("%q: %v", line, err)
		}
		for i, p := range m.parts {
			if q := again.parts[i]; p.id != q.id || p.method != q.method || p.version() != q.version() || p.cancels() != q.cancels() {
				t.Errorf("%+v and %+v", p, q)
			}
		}
		var tools tools
		rest, out := tools.list(m.text)
		if _, err := parse(rest); err != nil {
			t.Errorf("without %v: %q", out, rest)
		}
	})
}
