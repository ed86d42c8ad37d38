package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/testenv"
)

// served is a serve that runs.
type served struct {
	s    *scene
	cmd  *exec.Cmd
	url  string
	out  *bufio.Reader
	errs *bytes.Buffer
}

// newServeScene has ada and bob at provider sim, whose API is answered by api, or by the
// server where that is nil.
func newServeScene(t *testing.T, api http.Handler) *scene {
	t.Helper()
	s := newScene(t, brokertest.Config{})
	probe, err := net.Listen("unix", filepath.Join(s.Root, "x"))
	if err != nil {
		t.Skipf("needs Unix sockets, which Windows has since 2018: %v", err)
	}
	_ = probe.Close()
	origin := s.Server.URL
	if api != nil {
		server := httptest.NewServer(api)
		t.Cleanup(server.Close)
		origin = server.URL
	}
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", origin)
	for _, who := range []string{"ada", "bob"} {
		s.Must(s.Grant(who, time.Hour), "import", "grant", "sim", "--label", who)
	}
	return s
}

// serve starts one at a free port, or where args say, and waits until it listens.
func (s *scene) serve(args ...string) *served {
	s.T.Helper()
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	return s.started(s.Command(append([]string{"serve", "sim", "--json"}, args...)...))
}

func (s *scene) started(cmd *exec.Cmd) *served {
	s.T.Helper()
	v := &served{s: s, cmd: cmd, errs: new(bytes.Buffer)}
	cmd.Stderr = v.errs
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	testenv.Must(s.T, err)
	s.T.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	v.out = bufio.NewReader(stdout)
	line, _ := v.out.ReadString('\n')
	var doc listeningDoc
	if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Event != "listening" || doc.URL == "" || strings.Join(doc.Providers, " ") != "sim" {
		_ = cmd.Wait()
		s.T.Fatalf("the first line is %q: %v\n%s", line, err, v.errs)
	}
	testenv.Must(s.T, schema.Check([]string{"serve", "--json"}, line))
	v.url = doc.URL
	return v
}

// key is what a client gets.
func (v *served) key() string {
	v.s.T.Helper()
	return strings.TrimSpace(v.s.Must("", "helper", "proxy-key", v.url).Out)
}

func (v *served) ask(key string) string { return askOnce(v.url+"/sim/api/x", key) }

func (s *scene) noServe(after string) {
	s.T.Helper()
	for _, args := range [][]string{{"helper", "proxy-key"}, {"helper", "proxy-key", "http://127.0.0.1:1"}} {
		got := s.Run("", args...)
		if got.Code != exitProvider || got.Out != "" || !strings.Contains(got.Err, "no authferry serve listens for this folder (authferry serve)") {
			s.T.Errorf("after %s: %d %q %s", after, got.Code, got.Out, got.Err)
		}
	}
}

// Who asks authferry for the key is served, with failover, and nobody else is; a folder
// has one serve.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	s.noServe("nothing")
	v := s.serve()
	key := v.key()
	if len(key) < 26 || strings.ContainsAny(key, " \n") {
		t.Fatalf("the key is %q", key)
	}
	if got := v.ask(key); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"user":"ada"`) {
		t.Error(got)
	}
	s.Server.Inject(brokertest.Fault{On: brokertest.OnAPI, User: "ada", Times: -1, Status: 429, Header: map[string]string{"retry-after": "600"}})
	if got := v.ask(key); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, `"user":"bob"`) {
		t.Error(got)
	}
	if got := v.ask("x"); !strings.HasPrefix(got, "401 ") || !strings.Contains(got, "Get it with: authferry helper proxy-key") {
		t.Error(got)
	}
	for _, p := range s.proxies() {
		if p.Program != folder.ServeProgram || p.PID != v.cmd.Process.Pid || "http://"+p.Listen != v.url {
			t.Errorf("%+v", p)
		}
	}
	if n := len(s.proxies()); n != 1 {
		t.Errorf("%d proxies", n)
	}
	if got := s.Must("", "status").Out; !strings.Contains(strings.Join(strings.Fields(got), " "), fmt.Sprintf("authferry serve (pid %d) at %s, since ", v.cmd.Process.Pid, strings.TrimPrefix(v.url, "http://"))) {
		t.Error(got)
	}
	// A client that is set up for another address must not send the key there.
	if got := s.Run("", "helper", "proxy-key", "http://127.0.0.1:1"); got.Code != exitProvider || got.Out != "" || !strings.Contains(got.Err, "listens at "+v.url+", not at http://127.0.0.1:1") {
		t.Errorf("%d %q %s", got.Code, got.Out, got.Err)
	}
	got := s.Run("", "serve", "sim", "--listen", "127.0.0.1:0", "--json")
	if code, _ := complaint(t, got); got.Code != exitLock || code != "lock_timeout" || !strings.Contains(got.Err, "serve is running on this folder already: process ") {
		t.Errorf("%d %s", got.Code, got.Err)
	}
	other := newServeScene(t, nil)
	got = other.Run("", "serve", "sim", "--listen", strings.TrimPrefix(v.url, "http://"), "--json")
	if code, _ := complaint(t, got); got.Code != exitOther || code != "internal" || !strings.Contains(got.Err, "can't be opened") || !strings.Contains(got.Err, "in use") && runtime.GOOS != "windows" {
		t.Errorf("%d %s", got.Code, got.Err)
	}
	other.noServe("a taken port")
	if again := v.key(); again != key {
		t.Error("the key changed")
	}

	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	s.noServe("SIGKILL")
	if p := s.proxies(); len(p) != 0 {
		t.Errorf("%+v", p)
	}
	v = s.serve("--listen", strings.TrimPrefix(v.url, "http://"))
	if newer := v.key(); newer == key {
		t.Error("the key is the one from before")
	}
	if got := v.ask(key); !strings.HasPrefix(got, "401 ") {
		t.Errorf("with the key from before: %s", got)
	}
	testenv.Check(t, errors.Join(s.leaked(), authferrytest.Leaked([]string{key, v.key()}, s.Root)))
}

// Somebody who has the port of a serve that has ended gets to know nothing, whatever
// clients do that are set up for it.
func TestServeSquatter(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	v := s.serve()
	address := strings.TrimPrefix(v.url, "http://")
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
	squatter, err := net.Listen("tcp", address)
	testenv.Must(t, err)
	defer func() { _ = squatter.Close() }()
	heard := make(chan string, 10)
	go func() {
		for {
			conn, err := squatter.Accept()
			if err != nil {
				close(heard)
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			said, _ := io.ReadAll(conn)
			heard <- string(said)
		}
	}()
	for _, args := range [][]string{{"helper", "proxy-key"}, {"helper", "proxy-key", v.url}} {
		if got := s.Run("", args...); got.Code != exitProvider || got.Out != "" {
			t.Errorf("%d %q %s", got.Code, got.Out, got.Err)
		}
	}
	// Nor where serve is elsewhere by now.
	w := s.serve()
	if got := s.Run("", "helper", "proxy-key", v.url); got.Code != exitProvider || got.Out != "" {
		t.Errorf("%d %q %s", got.Code, got.Out, got.Err)
	}
	if w.key() == "" {
		t.Error("no key")
	}
	_ = squatter.Close()
	for said := range heard {
		if said != "" {
			t.Errorf("it was told %q", said)
		}
	}
}
