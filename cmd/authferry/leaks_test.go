package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
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

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

const (
	phrase       = "canary-passphrase"
	clientSecret = "canary-client-secret"
	apiKey       = "canary-api-key"
	longLived    = "sk-ant-oat01-canary"
)

// canaries are what every secret of the scenes below begins with (tokens, codes
// of logins, a passphrase), and how a client would encode its own.
var canaries = []string{
	"afat_", "afrt_", "afac_", "afdc_", "afcs_", "afreg_", "AGE-SECRET-KEY-1", phrase, apiKey, longLived, clientSecret,
	base64.StdEncoding.EncodeToString([]byte("authferry-sim:" + clientSecret)),
}

// No command, in no mode and however it fails, puts a secret anywhere but into
// the keystore and onto the stdout that was asked for it.
func TestNoLeaks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	met, ran := map[fault.Code]bool{
		fault.Cancelled: true, fault.InsufficientScope: true, // which take a terminal, and an MCP client
		// These take an engine: testdata/share*.txtar look for secrets themselves.
		fault.EngineUnreachable: true, fault.EngineRestored: true, fault.WaitingForMachine: true, fault.NotAMember: true, fault.TicketUsed: true,
	}, 0
	meet := func(c fault.Code) {
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
	sample := proofs.Size(1, len(predicaments)) // others each time
	for name, prepare := range predicaments {
		if sample--; sample < 0 {
			break
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{ClientSecret: clientSecret, MCP: &brokertest.MCP{Registrations: brokertest.Registrations{Secret: true}}})
			s.settle()
			var but *regexp.Regexp
			modes := [][]string{{"--verbose", "--json"}} // says on stdout and stderr whatever the others say
			if prepare != nil {
				prepare(s)
				but = unmoved
			} else if proofs.On() {
				modes = [][]string{nil, {"--json"}, {"--verbose"}, {"--quiet"}, {"--no-input"}}
			}
			for _, mode := range modes {
				s.tryEverything(mode, meet, but)
			}
			mu.Lock()
			ran++
			mu.Unlock()
			for _, l := range s.locks {
				l.Release()
			}
			s.Rest()
			testenv.Check(t, s.leaked())
		})
	}
}

// settle gives the user a provider with a secret, two logins and an API key.
func (s *scene) settle() {
	s.T.Helper()
	s.Must(clientSecret+"\n", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--client-secret-stdin", "--api-origin", s.Server.URL)
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	s.Must(s.Grant("bob", -time.Second), "import", "grant", "sim", "--label", "Bob")
	s.Must(apiKey, "login", "anthropic", "--api-key-stdin", "--label", "Key")
}

// leaked names the first file of the user's that holds a secret, but for the key
// file: home, temporary files and core dumps included.
func (s *scene) leaked() error {
	key := filepath.Join(s.Root, "key.txt")
	if err := os.Rename(key, s.Root+".key"); err != nil {
		return err
	}
	defer func() { _ = os.Rename(s.Root+".key", key) }()
	return authferrytest.Leaked(append(authferrytest.SecretsOf(s.Server), canaries...), s.Root)
}

// The tests that look for secrets find one that is there.
func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	s := newScene(t, brokertest.Config{})
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "anthropic", "--label", "Ada", "--client-id", "x")
	testenv.Must(t, s.leaked())
	printed := s.Must("", "token").Out
	if quiet := s.silent(authferrytest.Outcome{Err: "warning: " + printed}, []string{"token"}); quiet == "" {
		t.Error("a token on stderr is not found")
	}
	if quiet := s.silent(authferrytest.Outcome{Out: printed}, []string{"status"}); quiet == "" {
		t.Error("a token on the stdout of status is not found")
	}
	verifier := "verifier-as-no-login-makes-it-of-43-characters"
	res, err := http.PostForm(s.Server.URL+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {"authferry-sim"}, "code_verifier": {verifier}})
	testenv.Must(t, err)
	_ = res.Body.Close()
	if quiet := s.silent(authferrytest.Outcome{Err: "debug: " + verifier}, []string{"login"}); quiet != verifier {
		t.Error("a PKCE verifier is not found")
	}
	for _, name := range []string{"home/.cache/deep/log", "tmp/x", "authferry/index.json.tmp", "core"} {
		path := filepath.Join(s.Root, filepath.FromSlash(name))
		testenv.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testenv.Must(t, os.WriteFile(path, []byte("\x00\x7fELF"+printed), 0o600))
		if s.leaked() == nil {
			t.Errorf("a token in %s is not found", name)
		}
		testenv.Must(t, os.Remove(path))
	}
	if runtime.GOOS != "linux" {
		return
	}
	token := strings.TrimSpace(printed)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo ready; read -r line", token) // as a careless program would
	cmd.Env = append(s.Env, "TOKEN="+token)
	stdin, err := cmd.StdinPipe()
	testenv.Must(t, err)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	testenv.Must(t, err)
	testenv.Must(t, testenv.Err(stdout.Read(make([]byte, 6))))
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
func (s *scene) wantSilence(got authferrytest.Outcome, args []string) {
	s.T.Helper()
	if canary := s.silent(got, args); canary != "" {
		s.T.Errorf("authferry %s: %q in its output\n%s%s", strings.Join(args, " "), canary, got.Out, got.Err)
	}
}

// silent returns the secret in what a command printed, or "".
func (s *scene) silent(got authferrytest.Outcome, args []string) string {
	asked := got.Code == 0 && len(args) > 0 && (slices.Contains([]string{"token", "header", "helper"}, args[0]) || args[0] == "report" && slices.Contains(args, "--next"))
	for _, canary := range slices.Concat([]string{theirSecret}, authferrytest.SecretsOf(s.Server), canaries) {
		allowed := asked && (canary == "afat_" || canary == apiKey || canary == longLived)
		if strings.Contains(got.Err, canary) || strings.Contains(got.Out, canary) && !allowed {
			return canary
		}
	}
	return ""
}

// While a rotation waits for a slow provider no process that takes part in it
// shows a secret in its arguments, its environment or a file.
func TestNoLeaksWhileRotating(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux /proc: nowhere else are all processes' environments to be read")
	}
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.Must(clientSecret, "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--client-secret-stdin")
	s.Must(s.Grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
	answer := make(chan struct{})
	s.Server.Inject(brokertest.Fault{Until: answer, After: true})
	cmd := s.Command("token", "--verbose")
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	testenv.Must(t, cmd.Start())
	s.Await("the refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })

	secrets := append(authferrytest.SecretsOf(s.Server), canaries...)
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
	testenv.Check(t, s.leaked())
	close(answer)
	got := s.Finish(cmd)
	s.wantSilence(got, []string{"token"})
	if got.Code != 0 || !strings.HasPrefix(got.Out, "afat_") {
		t.Errorf("token: exit code %d: %s", got.Code, got.Err)
	}
	s.Rest()
	testenv.Check(t, s.leaked())
}

type process struct{ pid, args, env string }

// processes are the ones that work in the scene's folder. Those that hold secrets
// show their environment to root alone.
func (s *scene) processes() (found []process) {
	if os.Getuid() != 0 {
		s.T.Skip("needs root: authferry shows its environment to nobody else")
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	testenv.Must(s.T, err)
	for _, dir := range dirs {
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(env, []byte("AUTHFERRY_DIR="+s.Dir+"\x00")) {
			found = append(found, process{filepath.Base(dir), string(args), string(env)})
		}
	}
	return found
}

// What exec starts has the access token in its environment, and nothing else of
// the login.
func TestNoLeaksIntoExec(t *testing.T) {
	t.Parallel()
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.Must(clientSecret, "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--client-secret-stdin")
	s.Must(s.Grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: env")
	}
	got := s.Must("", "exec", "sim", "--env", "THE_TOKEN", "--", "env")
	if !strings.Contains(got.Out, "\nTHE_TOKEN=afat_") || strings.Count(got.Out, "afat_") != 1 {
		t.Errorf("not one token:\n%s", got.Out)
	}
	for _, canary := range canaries {
		if canary != "afat_" && strings.Contains(got.Out, canary) {
			t.Errorf("%q is in the environment", canary)
		}
	}
	s.Rest()
	testenv.Check(t, s.leaked())
}
