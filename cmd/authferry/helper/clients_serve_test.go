package helper_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// serving is an authferry serve that runs until the test ends.
type serving struct {
	cmd *exec.Cmd
	url string
}

func (s *scene) serve(provider, listen string) *serving {
	s.T.Helper()
	cmd := s.Command("serve", provider, "--listen", listen, "--json")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	testenv.Must(s.T, err)
	s.T.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	var doc struct{ URL string }
	if err := json.Unmarshal([]byte(line), &doc); err != nil {
		s.T.Fatalf("serve said %q: %v", line, err)
	}
	return &serving{cmd, doc.URL}
}

// throughServe is the command of a client that is set up for serve at url.
func (s *scene) throughServe(client runClient, bin, url string) *exec.Cmd {
	s.T.Helper()
	argv := client.command(bin)
	env := s.Env
	switch client.name {
	case "claude":
		s.Must("", "setup", "claude-code", "--proxy", "--yes") // the one that is running
	case "codex":
		s.Must("", "setup", "codex", "--proxy", "--yes")
		argv = slices.Insert(argv, 1, "-c", `model_provider="authferry"`)
	case "opencode":
		config, err := json.Marshal(map[string]any{"provider": map[string]any{client.provider: map[string]any{"options": map[string]any{
			"baseURL": url + "/" + client.provider + "/v1", "apiKey": "{env:THE_KEY}",
		}}}})
		testenv.Must(s.T, err)
		key := strings.TrimSpace(s.Must("", "helper", "proxy-key", url).Out)
		env = append(slices.Clone(env), "OPENCODE_CONFIG_CONTENT="+string(config), "THE_KEY="+key)
	}
	cmd := exec.CommandContext(s.T.Context(), argv[0], argv[1:]...)
	cmd.Env = env
	return cmd
}

// serveClients are those that can be had from npm.
func serveClients(t *testing.T) []runClient {
	return slices.DeleteFunc(runClients(t), func(c runClient) bool { return !slices.Contains([]string{"claude", "codex", "opencode"}, c.name) })
}

// The same through authferry serve, with settings that setup writes.
func TestAIClientsThroughServe(t *testing.T) {
	tryClients(t, serveClients(t), func(s *scene, client runClient, bin string) *exec.Cmd {
		v := s.serve(client.provider, "127.0.0.1:0")
		return s.throughServe(client, bin, v.url)
	})
}

// A serve that is killed in the middle of a request and started again has another key:
// clients that get it by a command go on with the same prompt.
func TestAIClientsAndServeRestarted(t *testing.T) {
	bin := aiPrograms(t)
	for _, client := range serveClients(t) {
		if client.name == "opencode" {
			continue // it has the key from its environment
		}
		t.Run(client.name, func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			s.Env = append(slices.DeleteFunc(s.Env, foreignToClients), client.env...)
			if client.setUp != nil {
				client.setUp(s)
			}
			restart := func() {}
			var once sync.Once
			api := newKeyedAPI(t, func(_ string, w http.ResponseWriter, r *http.Request) {
				once.Do(func() { restart() })
				client.api.good(w, r)
			})
			s.Must("", "provider", "add", client.provider, "--from", client.provider, "--api-origin", api.URL)
			s.Must("key-ada", "login", client.provider, "--label", "ada", "--api-key-stdin")
			v := s.serve(client.provider, "127.0.0.1:0")
			restart = func() {
				_ = v.cmd.Process.Kill()
				_ = v.cmd.Wait()
				s.serve(client.provider, strings.TrimPrefix(v.url, "http://"))
			}
			cmd := s.throughServe(client, bin, v.url)
			cmd.Dir = s.Root
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			if err != nil || !strings.Contains(out.String(), "ferried") || !strings.HasPrefix(api.all(), "ada ada") {
				t.Errorf("asked %q: %v\n%s", api.all(), err, out.String())
			}
			t.Logf("asked %q: %s", api.all(), lineWith(out.String(), "ferried"))
		})
	}
}
