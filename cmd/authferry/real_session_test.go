package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest/oidc"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// session is a person at a desktop: the program as it is installed, a folder,
// an unlocked keyring.
type session struct {
	t       *testing.T
	program string
	dir     string
	env     []string
	bus     *keystoretest.Keyring
	seen    []string // secrets that must be in no file
}

func newSession(t *testing.T) *session {
	t.Helper()
	if _, err := exec.LookPath("secret-tool"); err != nil {
		t.Skipf("needs secret-tool: %v", err)
	}
	k := keystoretest.GnomeKeyring(t)
	s := &session{t: t, program: authferrytest.Built(t), bus: k, dir: filepath.Join(t.TempDir(), "folder")}
	own := func(v string) bool { return strings.HasPrefix(v, "AUTHFERRY_") }
	s.env = append(slices.DeleteFunc(os.Environ(), own), k.Env...)
	s.env = append(s.env, "AUTHFERRY_DIR="+s.dir, "AUTHFERRY_KEYCHAIN_TIMEOUT=1m", "NO_COLOR=1")
	return s
}

// run starts the program with a standard input and more environment.
func (s *session) run(stdin string, env []string, args ...string) authferrytest.Outcome {
	s.t.Helper()
	return s.start(exec.CommandContext(s.t.Context(), s.program, args...), stdin, env)
}

func (s *session) start(cmd *exec.Cmd, stdin string, env []string) authferrytest.Outcome {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(slices.Clone(s.env), env...), strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		s.t.Fatal(err)
	}
	return authferrytest.Outcome{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// must is run for what has to succeed.
func (s *session) must(stdin string, args ...string) string {
	s.t.Helper()
	got := s.run(stdin, nil, args...)
	if got.Code != 0 {
		s.t.Fatalf("authferry %s: exit code %d\n%s", strings.Join(args, " "), got.Code, got.Err)
	}
	return got.Out
}

// discover adds the provider acme by its discovery document.
func (s *session) discover(p *oidc.Provider) {
	s.t.Helper()
	s.must("", "provider", "add", "acme", "--issuer", p.URL, "--client-id", oidc.ClientID)
}

// imports takes a grant over whose access token ended a minute ago.
func (s *session) imports(g oidc.Grant, label string) {
	s.t.Helper()
	s.seen = append(s.seen, g.AccessToken, g.RefreshToken)
	doc, err := json.Marshal(map[string]string{
		"access_token": g.AccessToken, "refresh_token": g.RefreshToken,
		"expires_at": time.Now().Add(-time.Minute).Format(time.RFC3339),
	})
	testenv.Must(s.t, err)
	s.must(string(doc), "import", "grant", "acme", "--label", label)
}

// token is the account's access token, which is the last line that there is.
func (s *session) token(label string) string {
	s.t.Helper()
	out := s.must("", "token", "--account", label)
	token := strings.TrimSuffix(out, "\n")
	if token == "" || strings.ContainsAny(token, " \n") {
		s.t.Fatalf("not a token alone on one line: %q", out)
	}
	s.seen = append(s.seen, token)
	return token
}

// keyring is what somebody else's tool finds in the keyring.
func (s *session) keyring() string {
	s.t.Helper()
	got := s.start(exec.CommandContext(s.t.Context(), "secret-tool", "search", "--all", "service", "authferry"), "", nil)
	return got.Out + got.Err
}

// refreshToken is the newest one of the account that the keyring holds.
func (s *session) refreshToken(label string) (token string) {
	s.t.Helper()
	var account struct{ ID string }
	testenv.Must(s.t, json.Unmarshal([]byte(s.must("", "info", label, "--json")), &account))
	newest := 0
	for line := range strings.Lines(s.keyring()) {
		var record struct {
			Account      string
			Generation   int
			RefreshToken string `json:"refresh_token"`
		}
		if json.Unmarshal([]byte(line), &record) != nil || record.RefreshToken == "" {
			continue
		}
		s.seen = append(s.seen, record.RefreshToken)
		if record.Account == account.ID && record.Generation > newest {
			newest, token = record.Generation, record.RefreshToken
		}
	}
	if token == "" {
		s.t.Fatalf("no refresh token of %s in the keyring", label)
	}
	return token
}

// holdsTokenOf wants a token of the account that its provider takes.
func (s *session) holdsTokenOf(p *oidc.Provider, label string) {
	s.t.Helper()
	if got := p.Subject(s.t, s.token(label)); got != label {
		s.t.Errorf("the token of %s is of %q", label, got)
	}
}

// eventually repeats a command, which a back-off may refuse, until it ends as
// wanted.
func (s *session) eventually(code int, args ...string) {
	s.t.Helper()
	var got authferrytest.Outcome
	for range 300 {
		if got = s.run("", nil, args...); got.Code == code {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("authferry %s: exit code %d, want %d\n%s", strings.Join(args, " "), got.Code, code, got.Err)
}

// within is the session in a subtest.
func (s *session) within(t *testing.T) *session {
	sub := *s
	sub.t = t
	return &sub
}

// noSecretInFiles looks for every secret of the test in every file of the folder.
func (s *session) noSecretInFiles() {
	s.t.Helper()
	files := 0
	if err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, secret := range s.seen {
			if bytes.Contains(data, []byte(secret)) {
				return fmt.Errorf("%s holds a token", path)
			}
		}
		return err
	}); err != nil || files == 0 {
		s.t.Errorf("%d files read: %v", files, err)
	}
}

// complaint is the error document of a call with --json.
func complaint(t *testing.T, o authferrytest.Outcome) (code string, retryAt time.Time) {
	t.Helper()
	var doc struct {
		Error struct {
			Code    string    `json:"code"`
			RetryAt time.Time `json:"retry_at"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(o.Out), &doc); err != nil {
		t.Fatalf("exit code %d: %v in %q", o.Code, err, o.Out)
	}
	return doc.Error.Code, doc.Error.RetryAt
}
