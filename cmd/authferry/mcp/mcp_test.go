package mcp

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/testenv"
)

// Whatever comes in, each line of what goes out is one JSON-RPC message, and there
// is at most one for each line that came in.
func FuzzServe(f *testing.F) {
	for _, line := range []string{
		"", "rubbish", "[]", "null", `{"jsonrpc":"2.0"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":-1,"method":"tools/list","params":null}`,
		`{"jsonrpc":"2.0","id":"x","method":"initialize","params":{"protocolVersion":"2025-06-18"}}`,
		`{"jsonrpc":"2.0","id":1e999,"method":"tools/call","params":{"name":"auth_status","arguments":null}}` + "\n" + `{"jsonrpc":"2.0","id":2,"method":"tools/call"}`,
		"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\u2028\",\"method\":\"ping\"}", "\r\n\x00\r\n",
	} {
		f.Add([]byte(line))
	}
	server := Server{
		Version: "1", Text: func(*broker.StatusView) string { return "text" },
		Status: func() (*broker.StatusView, error) { return &broker.StatusView{Pools: []broker.PoolView{}}, nil },
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		testenv.Must(t, server.Serve(bytes.NewReader(in), &out))
		if asked, answered := bytes.Count(in, []byte("\n"))+1, strings.Count(out.String(), "\n"); answered > asked {
			t.Errorf("%d lines were answered with %d", asked, answered)
		}
		for line := range strings.Lines(out.String()) {
			var m struct {
				Version string          `json:"jsonrpc"`
				ID      json.RawMessage `json:"id"`
				Result  json.RawMessage `json:"result"`
				Error   json.RawMessage `json:"error"`
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Version != "2.0" || m.ID == nil || (m.Result == nil) == (m.Error == nil) {
				t.Errorf("not an answer: %q, %v", line, err)
			}
		}
	})
}
