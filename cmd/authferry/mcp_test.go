package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

const keyCanary = "canary-api-key"

// mcpScene has two pools: "sim" with Ada and Bob, and "keys" with an API key.
func mcpScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", s.Server.URL)
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	s.Must(s.Grant("bob", time.Hour), "import", "grant", "sim", "--label", "Bob")
	s.Must(keyCanary+"\n", "login", "openai", "--api-key-stdin", "--label", "Key")
	return s
}

// ask starts the server and lets the official client ask it.
func ask(t *testing.T, cmd *exec.Cmd) (*mcp.ClientSession, *bytes.Buffer) {
	t.Helper()
	said := new(bytes.Buffer)
	cmd.Stderr = said
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd, TerminateDuration: 30 * time.Second}, nil)
	if err != nil {
		t.Fatal(err, said)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, said
}

// The official client gets one read-only tool, and from it the accounts of what
// was selected and never a token.
func TestMCP(t *testing.T) {
	t.Parallel()
	s := mcpScene(t)
	for name, test := range map[string]struct {
		args, labels []string
	}{
		"everything":  {nil, []string{"Key", "Ada", "Bob"}},
		"a pool":      {[]string{"--pool", "sim"}, []string{"Ada", "Bob"}},
		"a provider":  {[]string{"openai"}, []string{"Key"}},
		"an account":  {[]string{"--account", "Bob"}, []string{"Bob"}},
		"in the open": {[]string{"--verbose"}, []string{"Key", "Ada", "Bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			session, said := ask(t, s.Command(append([]string{"mcp"}, test.args...)...))
			if got := session.InitializeResult().ServerInfo; got.Name != "authferry" || got.Version == "" {
				t.Errorf("the server is %+v", got)
			}
			tools, err := session.ListTools(t.Context(), nil)
			if err != nil || len(tools.Tools) != 1 {
				t.Fatalf("got %v, %v, want one tool", tools, err)
			}
			a := tools.Tools[0].Annotations
			if tools.Tools[0].Name != "auth_status" || a == nil || !a.ReadOnlyHint || a.DestructiveHint == nil || *a.DestructiveHint {
				t.Errorf("the tool is %+v, %+v", tools.Tools[0], a)
			}
			result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "auth_status", Arguments: map[string]any{}})
			if err != nil || result.IsError {
				t.Fatal(result, err)
			}
			text := result.Content[0].(*mcp.TextContent).Text
			document, err := json.Marshal(result.StructuredContent)
			testenv.Must(t, err)
			var view broker.StatusView
			testenv.Must(t, json.Unmarshal(document, &view))
			var labels []string
			for _, p := range view.Pools {
				for _, v := range p.Accounts {
					labels = append(labels, v.Label)
					if !strings.Contains(text, v.Label) {
						t.Errorf("the text doesn't name %s:\n%s", v.Label, text)
					}
				}
			}
			if !slices.Equal(labels, test.labels) {
				t.Errorf("got %v, want %v", labels, test.labels)
			}
			for _, arguments := range []map[string]any{{"pool": "openai"}, {"x": keyCanary}} {
				if r, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "auth_status", Arguments: arguments}); err == nil {
					t.Errorf("arguments were taken: %v", r)
				}
			}
			testenv.Check(t, session.Ping(t.Context(), nil))
			if err := session.Close(); err != nil {
				t.Errorf("the server did not end well: %v\n%s", err, said)
			}
			noSecret(t, s, text+string(document)+said.String())
		})
	}
}

func noSecret(t *testing.T, s *scene, said string) {
	t.Helper()
	for _, secret := range append(authferrytest.SecretsOf(s.Server), "afat_", "afrt_", keyCanary) {
		if strings.Contains(said, secret) {
			t.Errorf("a secret was said: %s", said)
		}
	}
}

// What is no message gets an error and does no harm; what was asked before stdin
// ended is answered; nothing but messages is on stdout.
func TestMCPHostile(t *testing.T) {
	t.Parallel()
	s := mcpScene(t)
	call := func(id string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"auth_status"}}`
	}
	lines := []struct {
		sent string
		code int // 0: a result; -1: no answer
	}{
		{"rubbish", -32700},
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"1999-01-01"}}`, 0},
		{`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, -32602},
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, -1},
		{"", -1},
		{"\xff\xfe\x00", -32700},
		{"[]", -32600}, {"42", -32600}, {"null", -32600}, {`"x"`, -32600}, {"{}", -32600},
		{strings.Repeat("[", 100000), -32700},
		{`{"x":"` + strings.Repeat("a", 2<<20) + `"}`, -32700},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":7,"method":12}`, -32600},
		{`{"jsonrpc":"2.0","id":7,"result":{}}`, -1},
		{`{"jsonrpc":"1.0","id":7,"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"token"}}`, -32602},
		{`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"auth_status","arguments":{"pool":"openai"}}}`, -32602},
		{`{"jsonrpc":"2.0","id":8,"method":"tools/call","params":[1]}`, -32602},
		{`{"jsonrpc":"2.0","id":8,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, -32601},
		{call(`"a"`), 0},
		{call("9"), 0},
	}
	var input strings.Builder
	for _, line := range lines {
		input.WriteString(line.sent + "\n")
	}
	input.WriteString(strings.TrimSuffix(call("10"), "\n")) // without a newline at the end
	got := s.Run(input.String(), "mcp", "--pool", "sim")
	if got.Code != 0 || got.Err != "" {
		t.Errorf("exit code %d\n%s", got.Code, got.Err)
	}
	answers := bufio.NewScanner(strings.NewReader(got.Out))
	answers.Buffer(nil, 1<<20)
	type answer struct {
		Version string `json:"jsonrpc"`
		ID      any    `json:"id"`
		Result  any    `json:"result"`
		Error   *struct{ Code int }
	}
	next := func() (a answer) {
		t.Helper()
		if !answers.Scan() {
			t.Fatal("an answer is missing")
		}
		if err := json.Unmarshal(answers.Bytes(), &a); err != nil || a.Version != "2.0" {
			t.Fatalf("%v: %.200s", err, answers.Text())
		}
		return a
	}
	for _, line := range lines {
		if line.code == -1 {
			continue
		}
		a := next()
		if (a.Error == nil) != (line.code == 0) || a.Error != nil && a.Error.Code != line.code {
			t.Errorf("%.60q got %s, want %d", line.sent, answers.Text(), line.code)
		}
	}
	if a := next(); a.ID != 10.0 || a.Result == nil {
		t.Errorf("the last one got %+v", a)
	}
	if answers.Scan() {
		t.Errorf("more than was asked for: %s", answers.Text())
	}
	if strings.Contains(got.Out, "Key") {
		t.Errorf("another pool is shown: %s", got.Out)
	}
	noSecret(t, s, got.Out)
}

// The pool may go while the server runs: the caller is told, and the server stays.
func TestMCPPoolGone(t *testing.T) {
	t.Parallel()
	s := mcpScene(t)
	session, said := ask(t, s.Command("mcp", "--pool", "openai"))
	s.Must("", "remove", "Key", "--yes")
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "auth_status"})
	if err != nil || !result.IsError {
		t.Fatalf("got %v, %v, want an error of the tool", result, err)
	}
	if text := result.Content[0].(*mcp.TextContent).Text; !strings.Contains(text, "no pool") || strings.Contains(text, keyCanary) {
		t.Errorf("it says %q", text)
	}
	s.Must(keyCanary+"\n", "login", "openai", "--api-key-stdin", "--label", "Key")
	if result, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "auth_status"}); err != nil || result.IsError {
		t.Errorf("with the pool back: %v, %v\n%s", result, err, said)
	}
}

// It ends at SIGTERM although a client keeps its stdin open.
func TestMCPTerminated(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("needs signals: Windows has none")
	}
	s := mcpScene(t)
	cmd := s.Command("mcp")
	in, err := cmd.StdinPipe()
	testenv.Must(t, err)
	out, err := cmd.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, cmd.Start())
	testenv.Must(t, testenv.Err(in.Write([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"))))
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, `"id":1`) {
		t.Fatalf("%q, %v", line, err)
	}
	testenv.Must(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitTerminated {
		t.Errorf("exit code %d, want %d", code, exitTerminated)
	}
}
