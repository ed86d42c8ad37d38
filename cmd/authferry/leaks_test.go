package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
)

const (
	phrase       = "canary-passphrase"
	clientSecret = "canary-client-secret"
	apiKey       = "canary-api-key"
)

// canaries are what every secret of the scenes below begins with (tokens, codes
// of logins, a passphrase), and how a client would encode its own.
var canaries = []string{
	"afat_", "afrt_", "afac_", "afdc_", "AGE-SECRET-KEY-1", phrase, apiKey, clientSecret,
	base64.StdEncoding.EncodeToString([]byte("authferry-sim:" + clientSecret)),
}

// No command, in no mode and however it fails, puts a secret anywhere but into
// the keystore and onto the stdout that was asked for it.
func TestNoLeaks(t *testing.T) {
	var mu sync.Mutex
	met, ran := map[broker.Code]bool{broker.Cancelled: true}, 0 // which takes a terminal
	meet := func(c broker.Code) {
		mu.Lock()
		defer mu.Unlock()
		met[c] = true
	}
	t.Cleanup(func() {
		for c := range exitCodes {
			if !met[c] && ran == len(predicaments) {
				t.Errorf("no command failed with %s", c)
			}
		}
	})
	for name, prepare := range predicaments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
			s.settle()
			var but *regexp.Regexp
			modes := [][]string{nil, {"--json"}, {"--verbose"}, {"--quiet"}, {"--no-input"}}
			if prepare != nil {
				prepare(s)
				but = unmoved
				modes = [][]string{{"--verbose", "--json"}} // says on stdout and stderr whatever the others say
			}
			for _, mode := range modes {
				s.tryEverything(mode, meet, but)
			}
			mu.Lock()
			ran++
			mu.Unlock()
			s.rest()
			if err := s.leaked(); err != nil {
				t.Error(err)
			}
		})
	}
}

// settle gives the user a provider with a secret, two logins and an API key.
func (s *scene) settle() {
	s.t.Helper()
	s.must(clientSecret+"\n", "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim", "--client-secret-stdin", "--api-origin", s.server.URL)
	s.must(s.grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	s.must(s.grant("bob", -time.Second), "import", "grant", "sim", "--label", "Bob")
	s.must(apiKey, "login", "anthropic", "--api-key-stdin", "--label", "Key")
}

// leaked names the first file of the user's that holds a secret, but for the key
// file: home, temporary files and core dumps included.
func (s *scene) leaked() error {
	key := filepath.Join(s.root, "key.txt")
	if err := os.Rename(key, s.root+".key"); err != nil {
		return err
	}
	defer func() { _ = os.Rename(s.root+".key", key) }()
	return leaked(append(secretsOf(s.server), canaries...), s.root)
}

// The tests that look for secrets find one that is there.
func TestLeaksAreFound(t *testing.T) {
	s := newScene(t, brokertest.Config{})
	s.must(s.grant("ada", time.Hour), "import", "grant", "anthropic", "--label", "Ada", "--client-id", "x")
	if err := s.leaked(); err != nil {
		t.Fatal(err)
	}
	printed := s.must("", "token").out
	if quiet := s.silent(outcome{err: "warning: " + printed}, []string{"token"}); quiet == "" {
		t.Error("a token on stderr is not found")
	}
	if quiet := s.silent(outcome{out: printed}, []string{"status"}); quiet == "" {
		t.Error("a token on the stdout of status is not found")
	}
	for _, name := range []string{"home/.cache/deep/log", "tmp/x", "authferry/index.json.tmp", "core"} {
		path := filepath.Join(s.root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("\x00\x7fELF"+printed), 0o600); err != nil {
			t.Fatal(err)
		}
		if s.leaked() == nil {
			t.Errorf("a token in %s is not found", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	token := strings.TrimSpace(printed)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo ready; read -r line", token) // as a careless program would
	cmd.Env = append(s.env, "TOKEN="+token)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range s.processes() {
		if strings.Contains(p.args, token) && strings.Contains(p.env, token) {
			found++
		}
	}
	_ = stdin.Close()
	_ = cmd.Wait()
	if found != 1 {
		t.Errorf("%d processes show the token, want 1", found)
	}
}

// wantSilence wants no secret in what a command printed, but on the stdout of one
// that was asked for it.
func (s *scene) wantSilence(got outcome, args []string) {
	s.t.Helper()
	if canary := s.silent(got, args); canary != "" {
		s.t.Errorf("authferry %s: %q in its output\n%s%s", strings.Join(args, " "), canary, got.out, got.err)
	}
}

// silent returns the secret in what a command printed, or "".
func (s *scene) silent(got outcome, args []string) string {
	asked := got.code == 0 && len(args) > 0 && slices.Contains([]string{"token", "header", "helper"}, args[0])
	for _, canary := range append([]string{theirSecret}, canaries...) {
		allowed := asked && (canary == "afat_" || canary == apiKey)
		if strings.Contains(got.err, canary) || strings.Contains(got.out, canary) && !allowed {
			return canary
		}
	}
	return ""
}

// While a rotation waits for a slow provider no process that takes part in it
// shows a secret in its arguments, its environment or a file.
func TestNoLeaksWhileRotating(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux /proc: nowhere else are all processes' environments to be read")
	}
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.must(clientSecret, "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim", "--client-secret-stdin")
	s.must(s.grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
	answer := make(chan struct{})
	s.server.Inject(brokertest.Fault{Until: answer, After: true})
	cmd := s.command("token", "--verbose")
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.await("the refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })

	secrets := append(secretsOf(s.server), canaries...)
	rotators := 0
	for _, p := range s.processes() {
		if strings.Contains(p.args, "\x00rotate\x00") {
			rotators++
		}
		for _, secret := range secrets {
			if strings.Contains(p.args, secret) || strings.Contains(p.env, secret) {
				t.Errorf("process %q shows a secret", p.args)
			}
		}
	}
	if rotators != 1 {
		t.Errorf("%d rotators were looked at, want 1", rotators)
	}
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
	close(answer)
	got := s.finish(cmd)
	s.wantSilence(got, []string{"token"})
	if got.code != 0 || !strings.HasPrefix(got.out, "afat_") {
		t.Errorf("token: exit code %d: %s", got.code, got.err)
	}
	s.rest()
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
}

type process struct{ pid, args, env string }

// processes are the ones that work in the scene's folder. Those that hold secrets
// show their environment to root alone.
func (s *scene) processes() (found []process) {
	if os.Getuid() != 0 {
		s.t.Skip("needs root: authferry shows its environment to nobody else")
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range dirs {
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(env, []byte("AUTHFERRY_DIR="+s.dir+"\x00")) {
			found = append(found, process{filepath.Base(dir), string(args), string(env)})
		}
	}
	return found
}

// What exec starts has the access token in its environment, and nothing else of
// the login.
func TestNoLeaksIntoExec(t *testing.T) {
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.must(clientSecret, "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim", "--client-secret-stdin")
	s.must(s.grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: env")
	}
	got := s.must("", "exec", "sim", "--env", "THE_TOKEN", "--", "env")
	if !strings.Contains(got.out, "\nTHE_TOKEN=afat_") || strings.Count(got.out, "afat_") != 1 {
		t.Errorf("not one token:\n%s", got.out)
	}
	for _, canary := range canaries {
		if canary != "afat_" && strings.Contains(got.out, canary) {
			t.Errorf("%q is in the environment", canary)
		}
	}
	s.rest()
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
}
