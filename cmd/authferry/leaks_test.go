package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
)

const clientSecret = "canary-client-secret"

// canaries are what every secret of the scenes below begins with, and how a
// client would encode its own.
var canaries = []string{
	"afat_", "afrt_", clientSecret,
	base64.StdEncoding.EncodeToString([]byte("authferry-sim:" + clientSecret)),
}

// No command, in no mode and however it fails, puts a secret anywhere but into
// the keystore and onto the stdout that was asked for it.
func TestNoLeaks(t *testing.T) {
	for name, prepare := range predicaments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
			s.must(clientSecret+"\n", "provider", "add", "sim", "--issuer", s.server.URL, "--client-id", "authferry-sim", "--client-secret-stdin", "--api-origin", s.server.URL)
			s.must(s.grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
			s.must(s.grant("bob", -time.Second), "import", "grant", "sim", "--label", "Bob")
			modes := [][]string{nil, {"--json"}, {"--verbose"}, {"--quiet"}, {"--no-input"}}
			if prepare != nil {
				prepare(s)
				modes = [][]string{{"--verbose", "--json"}} // says on stdout and stderr whatever the others say
			}
			for _, mode := range modes {
				s.tryEverything(mode)
			}
			s.rest()
			if err := leaked(append(secretsOf(s.server), canaries...), s.root); err != nil {
				t.Error(err)
			}
		})
	}
}

// predicaments are the states in which commands fail, each in its own way.
var predicaments = map[string]func(*scene){
	"healthy": nil,
	"login revoked": func(s *scene) {
		s.server.Revoke("ada")
		s.server.Revoke("bob")
	},
	"provider gone":  func(s *scene) { s.server.Close() },
	"provider slow":  func(s *scene) { s.env = append(s.env, "AUTHFERRY_HTTP_TIMEOUT=1ns") },
	"limited":        misbehaves("429-date"),
	"captive portal": misbehaves("html"),
	"redirected":     misbehaves("redirect-308-other"),
	"cut off":        misbehaves("truncated"),
	"lost":           misbehaves("502-after"),
	"newline":        misbehaves("access-newline"),
	"nul":            misbehaves("refresh-nul"),
	"wrong secret": func(s *scene) {
		if err := s.server.Configure(func(c *brokertest.Config) { c.ClientSecret = "another" }); err != nil {
			s.t.Fatal(err)
		}
	},
	// What a server says may be what it was sent.
	"echo": func(s *scene) {
		for _, f := range s.server.Ledger().Families {
			sent := f.RefreshTokens[0].Token
			for _, body := range []string{
				`{"error":%q}`, `{"error":"invalid_request","error_description":%q}`, `{"error":{"message":%q,"type":%[1]q}}`,
				`{"error":"invalid_client","error_uri":%q}`, `refresh_token=%s`, `{"access_token":%q,"token_type":"mac"}`, `{"error":"invalid_grant","error_description":%q}`,
			} {
				for _, on := range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke} {
					for _, status := range []int{400, 200} {
						s.server.Inject(brokertest.Fault{On: on, User: f.User, Status: status, Body: fmt.Sprintf(body, sent), Header: map[string]string{"Retry-After": sent}})
					}
				}
			}
		}
	},
	"damaged index":   spoils("index.json", "{"),
	"newer index":     spoils("index.json", `{"schema":99}`),
	"damaged toml":    spoils("providers.toml", "= ="),
	"other keystore":  func(s *scene) { s.env = append(s.env, "AUTHFERRY_KEYSTORE=keychain", "AUTHFERRY_KEYCHAIN_TIMEOUT=1s") },
	"no key file":     func(s *scene) { s.env = append(s.env, "AUTHFERRY_KEY_FILE="+filepath.Join(s.root, "none")) },
	"locked accounts": func(s *scene) { s.lockAll() },
	"damaged vault": func(s *scene) {
		items, err := filepath.Glob(filepath.Join(s.dir, "vault", "*"))
		if err != nil || len(items) == 0 {
			s.t.Fatalf("no vault: %v", err)
		}
		for _, path := range items {
			if err := os.Truncate(path, 100); err != nil {
				s.t.Fatal(err)
			}
		}
	},
}

func misbehaves(fault string) func(*scene) {
	return func(s *scene) {
		f, known := brokertest.Faults()[fault]
		if !known {
			s.t.Fatalf("no fault %q", fault)
		}
		for _, f.On = range []brokertest.Endpoint{brokertest.OnToken, brokertest.OnRevoke, brokertest.OnMetadata} {
			f.Times = -1
			s.server.Inject(f)
		}
	}
}

func spoils(file, content string) func(*scene) {
	return func(s *scene) {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// lockAll holds every lock that there is until the test ends.
func (s *scene) lockAll() {
	s.env = append(s.env, "AUTHFERRY_LOCK_TIMEOUT=50ms")
	f := index.At(s.dir)
	idx, err := f.Read()
	if err != nil {
		s.t.Fatal(err)
	}
	paths := []string{filepath.Join(s.dir, "locks", "index.lock")}
	for _, a := range idx.Accounts {
		paths = append(paths, f.GatePath(a.ID), f.RotationPath(a.ID))
	}
	for _, path := range paths {
		l, err := index.Acquire(s.t.Context(), path)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(l.Release)
	}
}

// tryEverything runs every command in one mode. Whether it succeeds is not the
// question here.
func (s *scene) tryEverything(mode []string) {
	grant, file := s.grant("eve", time.Hour), s.foreign()
	spoilt := strings.NewReplacer(`"afat_`, `"\r\nafat_`).Replace(grant)
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
		{args: "import codex " + file + " --move"}, {args: "import multi-auth " + file + " --keep"}, {args: "import gemini " + s.dir + " --move"},
		{args: "rename Ada Ada2"}, {args: "rename Ada2 Ada"}, {args: "rename Ada Bob"},
		{args: "provider list"}, {args: "provider show sim"}, {args: "provider show google"},
		{clientSecret, "provider add two --token-endpoint " + s.server.URL + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret + "\n" + clientSecret, "provider add three --token-endpoint " + s.server.URL + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret, "provider add four --issuer " + s.server.URL + " --client-id authferry-sim --client-secret-stdin"},
		{args: "provider remove two"}, {args: "provider remove nowhere"},
		{args: "keystore status"}, {args: "keystore init --key-file " + filepath.Join(s.root, "key.txt")}, {args: "keystore migrate file"},
		{args: "config list"}, {args: "config get failover"}, {args: "config set failover true"}, {args: "config set failover afresh"},
		{args: "setup"}, {args: "setup git --print"}, {args: "setup claude-code --account Bob --print"}, {args: "setup codex --print"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"auth_status"}}`, "mcp"}, {grant, "mcp --pool sim"},
		{args: "version"}, {args: "--help"}, {args: "frobnicate"},
		{args: "remove Eve"}, {args: "remove Eve --yes"},
	} {
		args := slices.Concat(strings.Fields(c.args), mode)
		s.wantSilence(s.run(c.stdin, args...), args)
	}
}

// wantSilence wants no secret in what a command printed, but on the stdout of one
// that was asked for it.
func (s *scene) wantSilence(got outcome, args []string) {
	s.t.Helper()
	asked := got.code == 0 && (args[0] == "token" || args[0] == "header")
	for _, canary := range canaries {
		allowed := asked && canary == "afat_"
		if strings.Contains(got.err, canary) || strings.Contains(got.out, canary) && !allowed {
			s.t.Errorf("authferry %s: %q in its output\n%s%s", strings.Join(args, " "), canary, got.out, got.err)
		}
	}
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
	if err := leaked(secrets, s.root); err != nil {
		t.Error(err)
	}
	close(answer)
	got := s.finish(cmd)
	s.wantSilence(got, []string{"token"})
	if got.code != 0 || !strings.HasPrefix(got.out, "afat_") {
		t.Errorf("token: exit code %d: %s", got.code, got.err)
	}
	s.rest()
	if err := leaked(append(secretsOf(s.server), canaries...), s.root); err != nil {
		t.Error(err)
	}
}

type process struct{ args, env string }

// processes are the ones that work in the scene's folder.
func (s *scene) processes() (found []process) {
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
			found = append(found, process{string(args), string(env)})
		}
	}
	return found
}
