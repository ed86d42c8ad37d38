// Package authferrytest runs the program as a user would, away from everything of
// this machine: for the tests of cmd/authferry and of the folders below it.
package authferrytest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/testenv"
)

// Scene is one user without a keychain: a home, a folder with the file keystore,
// and an authorization server, provider "sim".
type Scene struct {
	T       *testing.T
	Server  *brokertest.Server
	Program string   // authferry's path; beside it lie its other names
	Root    string   // everything below it is the user's
	Dir     string   // AUTHFERRY_DIR
	Env     []string // of what the user runs; Program's folder comes first in its PATH
}

// theirs are the variables by which a machine tells other programs where their
// configuration is.
var theirs = regexp.MustCompile(`^(XDG_|TF_|GIT_|DOCKER_|KUBECONFIG=|CODEX_HOME=|CLAUDE_|GOENV=|GOAUTH=)`)

// New makes the scene of a user of program, which is [Built] or plays authferry's
// part when it is called so.
func New(t *testing.T, program string, cfg brokertest.Config) *Scene {
	t.Helper()
	s := &Scene{T: t, Program: program, Server: brokertest.New(t, cfg), Root: t.TempDir()}
	s.Dir = filepath.Join(s.Root, "authferry")
	for _, name := range []string{"home", "tmp", "run"} {
		testenv.Must(t, os.Mkdir(filepath.Join(s.Root, name), 0o700))
	}
	own := func(v string) bool { return strings.HasPrefix(v, "AUTHFERRY_") || theirs.MatchString(v) }
	home, tmp := filepath.Join(s.Root, "home"), filepath.Join(s.Root, "tmp")
	s.Env = append(slices.DeleteFunc(os.Environ(), own), "HOME="+home, "USERPROFILE="+home, "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp,
		"XDG_RUNTIME_DIR="+filepath.Join(s.Root, "run"), "AUTHFERRY_DIR="+s.Dir, "BROWSER=person", "NO_COLOR=1",
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(s.Root, "none"),
		"PATH="+filepath.Dir(program)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Cleanup(s.Rest)
	s.Must("", "keystore", "init", "--key-file", filepath.Join(s.Root, "key.txt"))
	return s
}

// Command is the program, not started yet.
func (s *Scene) Command(args ...string) *exec.Cmd {
	s.T.Helper()
	cmd := exec.CommandContext(s.T.Context(), s.Program)
	cmd.Args = append([]string{"authferry"}, args...)
	cmd.Env, cmd.Dir = s.Env, s.Root
	return cmd
}

// Outcome is what one process left: its exit code and what it wrote.
type Outcome struct {
	Code     int
	Out, Err string
}

// Finish waits for a command that was given buffers, or runs one that was not.
func (s *Scene) Finish(cmd *exec.Cmd) Outcome {
	s.T.Helper()
	var err error
	if cmd.Process == nil {
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		err = cmd.Run()
	} else {
		err = cmd.Wait()
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		s.T.Fatal(err)
	}
	own := slices.IndexFunc(cmd.Args, func(arg string) bool { return filepath.Base(arg) == "authferry" }) // strace may come first
	if args := cmd.Args[max(own, 0)+1:]; schema.Asked(args) && cmd.ProcessState.ExitCode() >= 0 {
		testenv.Check(s.T, schema.Check(args, cmd.Stdout.(*bytes.Buffer).String()))
	}
	return Outcome{cmd.ProcessState.ExitCode(), cmd.Stdout.(*bytes.Buffer).String(), cmd.Stderr.(*bytes.Buffer).String()}
}

// Run runs the program to its end.
func (s *Scene) Run(stdin string, args ...string) Outcome {
	s.T.Helper()
	cmd := s.Command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	got := s.Finish(cmd)
	if len(args) > 0 && args[0] == "report" && stdin != "" && got.Code == 0 {
		testenv.Check(s.T, schema.CheckReport(stdin))
	}
	return got
}

// Must is Run for what has to succeed.
func (s *Scene) Must(stdin string, args ...string) Outcome {
	s.T.Helper()
	got := s.Run(stdin, args...)
	if got.Code != 0 {
		s.T.Fatalf("authferry %s: exit code %d\n%s%s", strings.Join(args, " "), got.Code, got.Out, got.Err)
	}
	return got
}

// Grant is a login of user as import grant reads it, with so long to live.
func (s *Scene) Grant(user string, ttl time.Duration) string {
	s.T.Helper()
	g := s.Server.Issue(user)
	doc, err := json.Marshal(map[string]any{
		"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_at": time.Now().Add(ttl).Format(time.RFC3339),
	})
	testenv.Must(s.T, err)
	return string(doc)
}

// Held are the labels of the accounts that are held.
func (s *Scene) Held() string {
	s.T.Helper()
	var doc struct {
		Holds []struct{ Label string }
	}
	testenv.Must(s.T, json.Unmarshal([]byte(s.Must("", "holds", "--json").Out), &doc))
	var labels []string
	for _, h := range doc.Holds {
		labels = append(labels, h.Label)
	}
	return strings.Join(labels, " ")
}

// Write puts a file below the scene's root and returns its path.
func (s *Scene) Write(name, content string) string {
	s.T.Helper()
	path := filepath.Join(s.Root, filepath.FromSlash(name))
	testenv.Must(s.T, os.MkdirAll(filepath.Dir(path), 0o700))
	testenv.Must(s.T, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// Await returns when the server's ledger is as wanted.
func (s *Scene) Await(what string, holds func(brokertest.Ledger) bool) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), 30*time.Second)
	defer cancel()
	if err := s.Server.WaitFor(ctx, holds); err != nil {
		s.T.Fatalf("waiting for %s: %v", what, err)
	}
}

// Rest returns when no rotator is at work.
func (s *Scene) Rest() {
	locks, _ := filepath.Glob(filepath.Join(s.Dir, "locks", "*.lock"))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, path := range locks {
		if l, err := lock.Acquire(ctx, path); err == nil {
			l.Release()
		}
	}
}

// LogIn is a person's login by this command, whose authorization server agrees at once.
func (s *Scene) LogIn(args ...string) {
	s.T.Helper()
	cmd := s.Command(append(append([]string{"login"}, args...), "--no-browser", "--json")...)
	out, err := cmd.StdoutPipe()
	testenv.Must(s.T, err)
	testenv.Must(s.T, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var event struct{ Event, URL string }
		if json.Unmarshal(lines.Bytes(), &event) != nil || event.Event != "authorization_url" {
			continue
		}
		req, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, event.URL, http.NoBody)
		testenv.Must(s.T, err)
		res, err := (&http.Client{Timeout: time.Minute}).Do(req)
		testenv.Must(s.T, err)
		_ = res.Body.Close()
	}
	testenv.Must(s.T, cmd.Wait())
}
