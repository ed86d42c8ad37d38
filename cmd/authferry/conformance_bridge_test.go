package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/mcp"
	"github.com/authferry/authferry/proofs"
)

// The suite's scenarios for the transport, each with its version of the specification and
// the number of checks that it makes at least.
var transportConformance = []struct {
	scenario, version string
	least             int
}{
	{"initialize", "2025-11-25", 1},
	{"tools_call", "2025-11-25", 1},
	{"tools_call", "2026-07-28", 1},
	{"request-metadata", "2026-07-28", 5},
	{"sse-retry", "2025-11-25", 3},
	{"json-schema-2020-12-preservation", "2025-11-25", 6},
	{"http-standard-headers", "2026-07-28", 9},
	{"http-custom-headers", "2026-07-28", 18},
	{"http-invalid-tool-headers", "2026-07-28", 12},
	{"json-schema-2020-12-preservation", "2026-07-28", 9},
	{"json-schema-ref-no-deref", "2026-07-28", 1},
}

// TestBridgeConformance has the official suite judge what a client on stdio gets to a
// server over authferry mcp connect.
func TestBridgeConformance(t *testing.T) {
	proofs.Only(t, "runs the official MCP conformance suite")
	for _, c := range transportConformance {
		t.Run(c.scenario+"/"+c.version, func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			v := mcp.Judge(t, c.scenario, c.version, "mcp-bridged "+c.version, s.Env)
			if len(v.Failed) > 0 || len(v.Passed) < c.least {
				t.Errorf("passed %q, failed %q\n%s", v.Passed, v.Failed, v.Text)
			}
			t.Logf("%d checks: %s", len(v.Passed), strings.Join(slices.Compact(slices.Sorted(slices.Values(v.Passed))), " "))
		})
	}
}

// mcpBridged is a client on stdio, as the suite runs it: its arguments are the version
// and the server's address. The suite's servers want no login, so one that does stands
// before them.
func mcpBridged() {
	if err := bridged(os.Args[1], os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "mcp-bridged:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func bridged(version, address string) error {
	target, err := url.Parse(address)
	if err != nil {
		return err
	}
	listening := make(chan struct{})
	heard := sync.OnceFunc(func() { close(listening) })
	passOn := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		u := *target
		r.Out.URL, r.Out.Host = &u, target.Host
		r.Out.Header.Del("Authorization")
	}, ModifyResponse: func(res *http.Response) error {
		if res.Request.Method == http.MethodGet {
			heard()
		}
		return nil
	}}
	front, err := brokertest.Start(brokertest.Config{MCP: &brokertest.MCP{Handler: func(string) http.Handler { return passOn }}})
	if err != nil {
		return err
	}
	defer front.Close()
	if _, err := (judged{}).authferry("", "login", front.URL+"/mcp", "--name", "judged"); err != nil {
		return err
	}
	cmd := exec.Command("authferry", "mcp", "connect", "judged")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := &stdioClient{in: in, out: bufio.NewReader(out), version: version, listening: listening}
	if err := c.play(); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	return cmd.Wait()
}

// stdioClient is a client as simple as one can be.
type stdioClient struct {
	in      io.Writer
	out     *bufio.Reader
	version string
	id      int
	// listening is closed when the server has answered the bridge's first GET. The suite's
	// server takes any GET behind a tool call for the one that goes on with its stream.
	listening <-chan struct{}
}

// modern reports that there is no initialize.
func (c *stdioClient) modern() bool { return c.version >= "2026" }

func (c *stdioClient) send(message map[string]any) error {
	message["jsonrpc"] = "2.0"
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = c.in.Write(append(text, '\n'))
	return err
}

// ask returns the result of a request.
func (c *stdioClient) ask(method string, params map[string]any) (json.RawMessage, error) {
	c.id++
	if params == nil {
		params = map[string]any{}
	}
	if c.modern() {
		params["_meta"] = map[string]any{"io.modelcontextprotocol/protocolVersion": c.version, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
			"io.modelcontextprotocol/clientInfo": map[string]any{"name": "authferry-test", "version": "1"}}
	}
	if err := c.send(map[string]any{"id": c.id, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		line, err := c.out.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "mcp-bridged: %s: %s", method, line)
		var answer struct {
			ID     int
			Result json.RawMessage
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return nil, err
		}
		if answer.ID == c.id {
			return answer.Result, nil
		}
	}
}

type toolDoc struct {
	Name        string
	InputSchema json.RawMessage
}

// play does what the scenarios want of a client, and no more than a client would.
func (c *stdioClient) play() error {
	if c.modern() {
		if _, err := c.ask("server/discover", nil); err != nil {
			return err
		}
	} else {
		if _, err := c.ask("initialize", map[string]any{"protocolVersion": c.version, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "authferry-test", "version": "1"}}); err != nil {
			return err
		}
		if err := c.send(map[string]any{"method": "notifications/initialized"}); err != nil {
			return err
		}
		<-c.listening
	}
	text, err := c.ask("tools/list", nil)
	if err != nil {
		return err
	}
	var list struct{ Tools []toolDoc }
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	var given struct {
		ToolCalls []struct {
			Name      string
			Arguments map[string]any
		}
	}
	if text := os.Getenv("MCP_CONFORMANCE_CONTEXT"); text != "" {
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			return err
		}
	}
	for _, call := range given.ToolCalls {
		if _, err := c.ask("tools/call", map[string]any{"name": call.Name, "arguments": call.Arguments}); err != nil {
			return err
		}
	}
	for _, tool := range list.Tools {
		if len(given.ToolCalls) > 0 || tool.Name == "json_schema_2020_12_tool" {
			continue
		}
		if _, err := c.ask("tools/call", map[string]any{"name": tool.Name, "arguments": argumentsOf(tool, list.Tools)}); err != nil {
			return err
		}
	}
	if os.Getenv("MCP_CONFORMANCE_SCENARIO") != "http-standard-headers" {
		return nil
	}
	for _, ask := range []struct {
		method string
		params map[string]any
	}{
		{"resources/list", nil}, {"resources/read", map[string]any{"uri": "file:///path/to/file%20name.txt"}},
		{"prompts/list", nil}, {"prompts/get", map[string]any{"name": "test_prompt"}},
	} {
		if _, err := c.ask(ask.method, ask.params); err != nil {
			return err
		}
	}
	return nil
}

// argumentsOf are some that the scenarios' tools take.
func argumentsOf(tool toolDoc, all []toolDoc) map[string]any {
	switch tool.Name {
	case "json_schema_echo":
		return map[string]any{"schema": all[0].InputSchema}
	case "add_numbers":
		return map[string]any{"a": 5, "b": 3}
	case "valid_tool":
		return map[string]any{"region": "eu"}
	}
	return map[string]any{}
}
