package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
)

// scene is one user without a keychain: a home, a folder with the file keystore,
// and an authorization server, provider "sim".
type scene struct {
	t      *testing.T
	server *brokertest.Server
	root   string // everything below it is the user's
	dir    string // AUTHFERRY_DIR
	env    []string
}

// theirs are the variables by which a machine tells other programs where their
// configuration is.
var theirs = regexp.MustCompile(`^(XDG_|TF_|GIT_|DOCKER_|KUBECONFIG=|CODEX_HOME=|CLAUDE_|GOENV=|GOAUTH=)`)

func newScene(t *testing.T, cfg brokertest.Config) *scene {
	t.Helper()
	s := &scene{t: t, server: brokertest.New(t, cfg), root: t.TempDir()}
	s.dir = filepath.Join(s.root, "authferry")
	for _, name := range []string{"home", "tmp", "run"} {
		if err := os.Mkdir(filepath.Join(s.root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	own := func(v string) bool { return strings.HasPrefix(v, "AUTHFERRY_") || theirs.MatchString(v) }
	home, tmp := filepath.Join(s.root, "home"), filepath.Join(s.root, "tmp")
	s.env = append(slices.DeleteFunc(os.Environ(), own), "HOME="+home, "USERPROFILE="+home, "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp,
		"XDG_RUNTIME_DIR="+filepath.Join(s.root, "run"), "AUTHFERRY_DIR="+s.dir, "BROWSER=person", "NO_COLOR=1",
		"DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(s.root, "none"))
	t.Cleanup(s.rest)
	s.must("", "keystore", "init", "--key-file", filepath.Join(s.root, "key.txt"))
	return s
}

// command is the program, not started yet.
func (s *scene) command(args ...string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), self)
	cmd.Args = append([]string{"authferry"}, args...)
	cmd.Env, cmd.Dir = s.env, s.root
	return cmd
}

// finish waits for a command that was given buffers, or runs one that was not.
func (s *scene) finish(cmd *exec.Cmd) outcome {
	s.t.Helper()
	var err error
	if cmd.Process == nil {
		cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		err = cmd.Run()
	} else {
		err = cmd.Wait()
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		s.t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), cmd.Stdout.(*bytes.Buffer).String(), cmd.Stderr.(*bytes.Buffer).String()}
}

func (s *scene) run(stdin string, args ...string) outcome {
	s.t.Helper()
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	return s.finish(cmd)
}

// must is run for what has to succeed.
func (s *scene) must(stdin string, args ...string) outcome {
	s.t.Helper()
	got := s.run(stdin, args...)
	if got.code != 0 {
		s.t.Fatalf("authferry %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.out, got.err)
	}
	return got
}

// grant is a login of user as import grant reads it, with so long to live.
func (s *scene) grant(user string, ttl time.Duration) string {
	s.t.Helper()
	g := s.server.Issue(user)
	doc, err := json.Marshal(map[string]any{
		"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_at": time.Now().Add(ttl).Format(time.RFC3339),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(doc)
}

// await returns when the server's ledger is as wanted.
func (s *scene) await(what string, holds func(brokertest.Ledger) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	if err := s.server.WaitFor(ctx, holds); err != nil {
		s.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// rest returns when no rotator is at work.
func (s *scene) rest() {
	locks, _ := filepath.Glob(filepath.Join(s.dir, "locks", "*.lock"))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, path := range locks {
		if l, err := index.Acquire(ctx, path); err == nil {
			l.Release()
		}
	}
}
