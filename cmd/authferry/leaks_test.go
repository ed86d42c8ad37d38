package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
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
	sample := len(predicaments)
	if brokertest.Brief() {
		sample = 4 // others each time
	}
	for name, prepare := range predicaments {
		if sample--; sample < 0 {
			break
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
			s.Must(clientSecret+"\n", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--client-secret-stdin", "--api-origin", s.Server.URL)
			s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
			s.Must(s.Grant("bob", -time.Second), "import", "grant", "sim", "--label", "Bob")
			s.Must(apiKey, "login", "anthropic", "--api-key-stdin", "--label", "Key")
			modes := [][]string{{"--verbose", "--json"}} // says on stdout and stderr whatever the others say
			if prepare != nil {
				prepare(s)
			} else if !brokertest.Brief() {
				modes = [][]string{nil, {"--json"}, {"--verbose"}, {"--quiet"}, {"--no-input"}}
			}
			for _, mode := range modes {
				s.tryEverything(mode)
			}
			for _, l := range s.locks {
				l.Release()
			}
			s.Rest()
			if err := s.leaked(); err != nil {
				t.Error(err)
			}
		})
	}
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
	s := newScene(t, brokertest.Config{})
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "anthropic", "--label", "Ada", "--client-id", "x")
	if err := s.leaked(); err != nil {
		t.Fatal(err)
	}
	printed := s.Must("", "token").Out
	if quiet := s.silent(authferrytest.Outcome{Err: "warning: " + printed}, []string{"token"}); quiet == "" {
		t.Error("a token on stderr is not found")
	}
	if quiet := s.silent(authferrytest.Outcome{Out: printed}, []string{"status"}); quiet == "" {
		t.Error("a token on the stdout of status is not found")
	}
	for _, name := range []string{"home/.cache/deep/log", "tmp/x", "authferry/index.json.tmp", "core"} {
		path := filepath.Join(s.Root, filepath.FromSlash(name))
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
	cmd.Env = append(s.Env, "TOKEN="+token)
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

// predicaments are the states in which commands fail, each in its own way.
var predicaments = map[string]func(*scene){
	"healthy": nil,
	"login revoked": func(s *scene) {
		s.Server.Revoke("ada")
		s.Server.Revoke("bob")
	},
	"provider gone":  func(s *scene) { s.Server.Close() },
	"provider slow":  func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_HTTP_TIMEOUT=1ns") },
	"limited":        misbehaves("429-date"),
	"captive portal": misbehaves("html"),
	"redirected":     misbehaves("redirect-308-other"),
	"cut off":        misbehaves("truncated"),
	"lost":           misbehaves("502-after"),
	"newline":        misbehaves("access-newline"),
	"nul":            misbehaves("refresh-nul"),
	"wrong secret": func(s *scene) {
		if err := s.Server.Configure(func(c *brokertest.Config) { c.ClientSecret = "another" }); err != nil {
			s.T.Fatal(err)
		}
	},
	// What a server says may be what it was sent.
	"echo": func(s *scene) {
		for _, f := range s.Server.Ledger().Families {
			sent := f.RefreshTokens[0].Token
			for _, body := range []string{
				`{"error":%q}`, `{"error":"invalid_request","error_description":%q}`, `{"error":{"message":%q,"type":%[1]q}}`,
				`{"error":"invalid_client","error_uri":%q}`, `refresh_token=%s`, `{"access_token":%q,"token_type":"mac"}`, `{"error":"invalid_grant","error_description":%q}`,
			} {
				for _, on := range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke} {
					for _, status := range []int{400, 200} {
						s.Server.Inject(brokertest.Fault{On: on, User: f.User, Status: status, Body: fmt.Sprintf(body, sent), Header: map[string]string{"Retry-After": sent}})
					}
				}
			}
		}
	},
	"damaged index":   spoils("index.json", "{"),
	"newer index":     spoils("index.json", `{"schema":99}`),
	"damaged toml":    spoils("providers.toml", "= ="),
	"other keystore":  func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_KEYSTORE=keychain", "AUTHFERRY_KEYCHAIN_TIMEOUT=1s") },
	"no key file":     func(s *scene) { s.Env = append(s.Env, "AUTHFERRY_KEY_FILE="+filepath.Join(s.Root, "none")) },
	"locked accounts": func(s *scene) { s.lockAll() },
	"damaged vault": func(s *scene) {
		items, err := filepath.Glob(filepath.Join(s.Dir, "vault", "*"))
		if err != nil || len(items) == 0 {
			s.T.Fatalf("no vault: %v", err)
		}
		for _, path := range items {
			if err := os.Truncate(path, 100); err != nil {
				s.T.Fatal(err)
			}
		}
	},
}

func misbehaves(fault string) func(*scene) {
	return func(s *scene) {
		f, known := brokertest.Faults()[fault]
		if !known {
			s.T.Fatalf("no fault %q", fault)
		}
		for _, f.On = range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke, brokertest.OnMetadata} {
			f.Times = -1
			s.Server.Inject(f)
		}
	}
}

func spoils(file, content string) func(*scene) {
	return func(s *scene) {
		if err := os.WriteFile(filepath.Join(s.Dir, file), []byte(content), 0o600); err != nil {
			s.T.Fatal(err)
		}
	}
}

// lockAll holds every lock that there is until the test ends.
func (s *scene) lockAll() {
	s.Env = append(s.Env, "AUTHFERRY_LOCK_TIMEOUT=50ms")
	f := index.At(s.Dir)
	idx, err := f.Read()
	if err != nil {
		s.T.Fatal(err)
	}
	paths := []string{filepath.Join(s.Dir, "locks", "index.lock")}
	for _, a := range idx.Accounts {
		if a.Kind == broker.KindAPIKey {
			continue // a key that was typed in is held for minutes rather than lost
		}
		paths = append(paths, f.GatePath(a.ID), f.RotationPath(a.ID))
	}
	for _, path := range paths {
		l, err := index.Acquire(s.T.Context(), path)
		if err != nil {
			s.T.Fatal(err)
		}
		s.T.Cleanup(l.Release)
		s.locks = append(s.locks, l)
	}
}

// tryEverything runs every command in one mode. Whether it succeeds is not the
// question here.
func (s *scene) tryEverything(mode []string) {
	grant, file := s.Grant("eve", time.Hour), s.foreign()
	spoilt := strings.NewReplacer(`"afat_`, `"\r\nafat_`).Replace(grant)
	report := func(status int) string {
		return fmt.Sprintf(`{"lease":"acc_aaaaaaaaaaaaaaaa.1","status":%d,"headers":{"authorization":"Bearer afat_x"},"body":"afat_x"}`, status)
	}
	for _, c := range []struct {
		stdin string
		args  string
	}{
		{args: "token --account Ada"}, {args: "token --account Bob"}, {args: "token sim --min-ttl 2h"}, {args: "token --rejected acc_aaaaaaaaaaaaaaaa.1"},
		{args: "header --account Ada"}, {args: "header --account Bob"},
		{args: "status"}, {args: "list"}, {args: "ls"}, {args: "info Ada"}, {args: "show Bob"}, {args: "info nobody"},
		{args: "refresh Ada"}, {args: "refresh Bob"},
		{grant, "import grant sim --label Eve"}, {grant, "import grant sim --label Again"}, {spoilt, "import grant sim --label Odd"},
		{grant[:len(grant)-5], "import grant sim --label Half"}, {`[` + grant + `]`, "import grant sim --label List"}, {grant, "import grant nowhere --label Eve"},
		{args: "import opencode " + file + " --dry-run"}, {args: "import opencode " + file + " --keep"}, {args: "import opencode " + file + " --move"},
		{args: "import codex " + file + " --move"}, {args: "import multi-auth " + file + " --keep"}, {args: "import gemini " + s.Dir + " --move"},
		{args: "rename Ada Ada2"}, {args: "rename Ada2 Ada"}, {args: "rename Ada Bob"},
		{args: "provider list"}, {args: "provider show sim"}, {args: "provider show google"},
		{clientSecret, "provider add two --token-endpoint " + s.Server.URL + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret + "\n" + clientSecret, "provider add three --token-endpoint " + s.Server.URL + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret, "provider add four --issuer " + s.Server.URL + " --client-id authferry-sim --client-secret-stdin"},
		{args: "provider remove two"}, {args: "provider remove nowhere"},
		{args: "keystore status"}, {args: "keystore init --key-file " + filepath.Join(s.Root, "key.txt")}, {args: "keystore migrate file"},
		{args: "config list"}, {args: "config get failover"}, {args: "config set failover true"}, {args: "config set failover afresh"},
		{args: "setup"}, {args: "setup git --print"}, {args: "setup claude-code --account Bob --print"}, {args: "setup codex --print"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"auth_status"}}`, "mcp"}, {grant, "mcp --pool sim"},
		{args: "version"}, {args: "--help"}, {args: "frobnicate"}, {args: ""},
		{args: "login sim --timeout 1s"}, {args: "login sim --flow device --timeout 1s"}, {args: "login sim --renew Bob --timeout 1s"},
		{"afac_x#afac_y\n", "login sim --flow paste --no-browser --timeout 1s"}, {s.Server.URL + "/callback?code=afac_x&state=y\n", "login sim --flow paste --no-browser --timeout 1s"},
		{apiKey, "login anthropic --api-key-stdin --label Two"}, {apiKey + "\n" + apiKey, "login anthropic --api-key-stdin --label Three"},
		{apiKey, "login anthropic --api-key-stdin --renew Key"}, {args: "token --account Key"}, {args: "header --account Key"},
		{report(200), "report"}, {report(429), "report --next"}, {report(401)[:40], "report"}, {`{"lease":"afat_x","status":401}`, "report"},
		{args: "helper api-key --account Ada"}, {args: "exec --account Ada --env T -- true"}, {args: "exec --account Bob -- true"}, {args: "exec --account Ada -- nothing-like-it"},
		{args: "holds"}, {args: "holds clear Ada"}, {args: "use Bob"}, {args: "use --pool sim"}, {args: "disable Ada"}, {args: "enable Ada"},
		{args: "order Bob 1"}, {args: "move Bob --pool two"}, {args: "move Bob --pool sim"},
		{phrase, "keystore init --passphrase-stdin --key-file " + filepath.Join(s.Root, "key.age")}, {phrase, "keystore unlock --passphrase-stdin"}, {args: "keystore lock"},
		{args: "keystore migrate keychain"}, {args: "doctor"}, {args: "doctor --fix"},
		{args: "remove Eve"}, {args: "remove Eve --yes"},
	} {
		args := strings.Fields(c.args)
		if i := slices.Index(args, "--"); i < 0 {
			args = append(args, mode...)
		} else {
			args = slices.Insert(args, i, mode...)
		}
		s.wantSilence(s.Run(c.stdin, args...), args)
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
	asked := got.Code == 0 && len(args) > 0 && slices.Contains([]string{"token", "header", "helper"}, args[0])
	for _, canary := range canaries {
		allowed := asked && (canary == "afat_" || canary == apiKey)
		if strings.Contains(got.Err, canary) || strings.Contains(got.Out, canary) && !allowed {
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
	s.Must(clientSecret, "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--client-secret-stdin")
	s.Must(s.Grant("ada", -time.Second), "import", "grant", "sim", "--label", "Ada")
	answer := make(chan struct{})
	s.Server.Inject(brokertest.Fault{Until: answer, After: true})
	cmd := s.Command("token", "--verbose")
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
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
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
	close(answer)
	got := s.Finish(cmd)
	s.wantSilence(got, []string{"token"})
	if got.Code != 0 || !strings.HasPrefix(got.Out, "afat_") {
		t.Errorf("token: exit code %d: %s", got.Code, got.Err)
	}
	s.Rest()
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
}

type process struct{ pid, args, env string }

// processes are the ones that work in the scene's folder. Those that hold secrets
// show their environment to root alone.
func (s *scene) processes() (found []process) {
	if os.Getuid() != 0 {
		s.T.Skip("needs root: authferry shows its environment to nobody else")
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.T.Fatal(err)
	}
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
	if err := s.leaked(); err != nil {
		t.Error(err)
	}
}
