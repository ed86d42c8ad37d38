//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

func (v *served) signal(sig os.Signal) { _ = v.cmd.Process.Signal(sig) }

// end waits for it and returns its exit code.
func (v *served) end() int {
	v.s.T.Helper()
	_, _ = io.Copy(io.Discard, v.out)
	err := v.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	testenv.Must(v.s.T, err)
	return 0
}

// nothingOfServe wants no trace of one that has ended.
func (s *scene) nothingOfServe(after string) {
	s.T.Helper()
	s.nothingLeft(after)
	if _, err := os.Lstat(filepath.Join(s.Dir, "locks", folder.ServeSocket)); err == nil {
		s.T.Errorf("after %s the key's socket is there", after)
	}
	s.noServe(after)
}

// However serve ends, it gives everything back, and the key with it.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		v := s.serve()
		v.signal(sig)
		if code := v.end(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", sig, code, v.errs)
		}
		s.nothingOfServe(sig.String())
	}
	v := s.serve()
	v.signal(syscall.SIGKILL)
	v.end()
	s.noServe("SIGKILL")
	s.Must("", "doctor", "--fix")
	s.nothingOfServe("SIGKILL and doctor --fix")
}

// slowly answers with a stream whose second half comes when more is told to.
func slowly(begun, more chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		select {
		case <-more:
			_, _ = io.WriteString(w, "data: two\n\n")
		case <-r.Context().Done():
		}
	})
}

// A stream that is under way ends by itself after the end of serve was asked for, while
// another serve has its place; who can't wait asks again.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	begun, more := make(chan struct{}), make(chan struct{})
	s := newServeScene(t, slowly(begun, more))
	for _, cut := range []bool{false, true} {
		v := s.serve()
		answer := make(chan string)
		key := v.key()
		go func() { answer <- v.ask(key) }()
		<-begun
		v.signal(syscall.SIGTERM)
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(v.url, "http://"))
			if err != nil {
				break
			}
			_ = conn.Close()
			if time.Now().After(deadline) {
				t.Fatal("it goes on listening")
			}
		}
		next := s.serve("--listen", strings.TrimPrefix(v.url, "http://"))
		if next.key() == key {
			t.Error("the next one has the same key")
		}
		if cut {
			v.signal(syscall.SIGTERM)
			if got := <-answer; strings.HasPrefix(got, "200 ") && strings.Contains(got, "two") {
				t.Errorf("the answer that was cut off is %q", got)
			}
			if code := v.end(); code != exitTerminated {
				t.Errorf("exit code %d\n%s", code, v.errs)
			}
		} else {
			more <- struct{}{}
			if got := <-answer; got != "200 data: one\n\ndata: two" {
				t.Errorf("the stream is %q", got)
			}
			if code := v.end(); code != 0 {
				t.Errorf("exit code %d\n%s", code, v.errs)
			}
		}
		if next.key() == "" { // what ends must not take the other's socket along
			t.Error("the next one has no key")
		}
		next.signal(syscall.SIGTERM)
		next.end()
		s.nothingOfServe("both")
	}
}

// A Unix socket is open to its owner alone, and takes the place of nothing but a socket
// that nobody listens at.
func TestServeUnixSocket(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	path := filepath.Join(s.Root, "run", "proxy.sock")
	v := s.serve("--listen", "unix:"+path)
	if v.url != "unix:"+path {
		t.Errorf("url %s", v.url)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }, DisableKeepAlives: true}}
	ask := func(host string) int {
		r, err := http.NewRequest(http.MethodGet, "http://"+host+"/sim/api/x", http.NoBody)
		testenv.Must(t, err)
		r.Header.Set("Authorization", "Bearer "+v.key())
		res, err := client.Do(r)
		testenv.Must(t, err)
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := ask("localhost"); got != http.StatusOK {
		t.Error(got)
	}
	if got := ask("evil.example"); got != http.StatusForbidden {
		t.Error(got)
	}
	other := newServeScene(t, nil)
	if got := other.Run("", "serve", "sim", "--listen", "unix:"+path); got.Code != exitUsage || !strings.Contains(got.Err, "is in use") {
		t.Errorf("%d %s", got.Code, got.Err)
	}
	v.signal(syscall.SIGKILL)
	v.end()
	v = s.serve("--listen", "unix:"+path)
	v.signal(syscall.SIGTERM)
	v.end()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left")
	}
	file := s.Write("run/file", "mine")
	if got := s.Run("", "serve", "sim", "--listen", "unix:"+file); got.Code != exitUsage || !strings.Contains(got.Err, "is not a socket; it was left as it is") {
		t.Errorf("%d %s", got.Code, got.Err)
	}
	open := filepath.Join(s.Root, "open")
	testenv.Must(t, os.Mkdir(open, 0o700))
	testenv.Must(t, os.Chmod(open, 0o777))
	if got := s.Run("", "serve", "sim", "--listen", "unix:"+filepath.Join(open, "x.sock")); got.Code != exitUsage || !strings.Contains(got.Err, "only you may have write access") {
		t.Errorf("%d %s", got.Code, got.Err)
	}
}

// The folder's path may be longer than a socket's may be.
func TestServeInADeepFolder(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	deep := filepath.Join(s.Root, strings.Repeat("d", 90), "authferry")
	testenv.Must(t, os.MkdirAll(filepath.Dir(deep), 0o700))
	testenv.Must(t, os.Rename(s.Dir, deep))
	s.Dir = deep
	s.Env = append(s.Env, "AUTHFERRY_DIR="+deep)
	v := s.serve()
	if got := v.ask(v.key()); !strings.HasPrefix(got, "200 ") {
		t.Error(got)
	}
	v.signal(syscall.SIGTERM)
	v.end()
	s.nothingOfServe("SIGTERM")
}

// activated is a serve that gets its socket as systemd hands it over.
func (s *scene) activated(l *os.File) *served {
	s.T.Helper()
	cmd := exec.CommandContext(s.T.Context(), "sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec authferry serve sim --json`)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = append(s.Env, "PATH="+binFolder(s)+":"+os.Getenv("PATH")), s.Root, []*os.File{l}
	return s.started(cmd)
}

// While systemd keeps the socket, serve is restarted again and again under load: no
// connection is refused, and every request is answered, with the new key after a 401.
func TestServeRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	defer func() { _ = l.Close() }()
	file, err := l.(*net.TCPListener).File()
	testenv.Must(t, err)
	defer func() { _ = file.Close() }()
	v := s.activated(file)
	if v.url != "http://"+l.Addr().String() {
		t.Fatalf("url %s", v.url)
	}
	var key atomic.Value
	key.Store(v.key())
	var answered, stale atomic.Int64
	over := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				k := key.Load().(string)
				switch got := askOnce("http://"+l.Addr().String()+"/sim/api/x", k); {
				case strings.HasPrefix(got, "200 "):
					answered.Add(1)
				case strings.HasPrefix(got, "401 "):
					stale.Add(1)
					next := s.Run("", "helper", "proxy-key", "http://"+l.Addr().String())
					if next.Code != 0 {
						t.Errorf("proxy-key: %d %s", next.Code, next.Err)
						return
					}
					key.Store(strings.TrimSpace(next.Out))
				default:
					t.Errorf("a request was answered %q", got)
					return
				}
			}
		})
	}
	for range proofs.Size(3, 30) {
		for seen := answered.Load(); answered.Load() < seen+20 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		v.signal(syscall.SIGTERM)
		if code := v.end(); code != 0 {
			t.Errorf("exit code %d\n%s", code, v.errs)
		}
		v = s.activated(file)
	}
	for seen := answered.Load(); answered.Load() < seen+20 && !t.Failed(); {
		time.Sleep(time.Millisecond)
	}
	close(over)
	clients.Wait()
	t.Logf("%d answered, %d with a key from before", answered.Load(), stale.Load())
	v.signal(syscall.SIGTERM)
	v.end()
}

// systemd's own helper starts serve for the first connection, which is one of a client
// that wants the key.
func TestServeSocketActivation(t *testing.T) {
	t.Parallel()
	helper, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate: apt-get install systemd")
	}
	s := newServeScene(t, nil)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	address := free.Addr().String()
	_ = free.Close()
	args := []string{"--listen=" + address}
	for _, e := range append(s.Env, "PATH="+binFolder(s)+":"+os.Getenv("PATH")) {
		if name, _, _ := strings.Cut(e, "="); name != "" && !strings.Contains(e, "\n") {
			args = append(args, "--setenv="+e)
		}
	}
	cmd := exec.CommandContext(t.Context(), helper, append(args, filepath.Join(s.Root, "bin", "authferry"), "serve", "sim")...)
	cmd.Env, cmd.Dir = s.Env, s.Root
	testenv.Must(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Signal(syscall.SIGTERM) }()
	var key string
	for deadline := time.Now().Add(time.Minute); key == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		key = strings.TrimSpace(s.Run("", "helper", "proxy-key", "http://"+address).Out)
	}
	if got := askOnce("http://"+address+"/sim/api/x", key); !strings.HasPrefix(got, "200 ") {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", bad)
		testenv.Must(t, err)
		file, err := l.(*net.TCPListener).File()
		testenv.Must(t, err)
		other := newServeScene(t, nil)
		more := ""
		if bad == "127.0.0.1:0" {
			more = " --listen 127.0.0.1:0"
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec authferry serve sim"+more)
		cmd.Env, cmd.Dir, cmd.ExtraFiles = append(other.Env, "PATH="+binFolder(other)+":"+os.Getenv("PATH")), other.Root, []*os.File{file}
		if got := other.Finish(cmd); got.Code != exitUsage {
			t.Errorf("%s: %d %s", bad, got.Code, got.Err)
		}
		_ = file.Close()
		_ = l.Close()
	}
}

// Another user of the machine can't have the key, nor use the proxy without it.
func TestServeAndAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be another user")
	}
	s := newServeScene(t, nil)
	v := s.serve()
	cmd := s.asNobody("--knock", s.Dir, "--key", "guess", "/api/x")
	cmd.Env = []string{"AUTHFERRY_PROXY_URL=" + v.url + "/sim"}
	got := s.Finish(cmd)
	if !strings.Contains(got.Out, "no key: ") || !strings.Contains(got.Out, "permission denied") || !strings.Contains(got.Out, "401 ") || strings.Contains(got.Out, v.key()) {
		t.Errorf("%d %s%s", got.Code, got.Out, got.Err)
	}
}

// asNobody is ask-proxy of another user, who may enter all but the folder itself.
func (s *scene) asNobody(args ...string) *exec.Cmd {
	s.T.Helper()
	for dir := filepath.Dir(s.Dir); dir != filepath.Dir(dir) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		testenv.Must(s.T, os.Chmod(dir, 0o755))
	}
	self, err := os.Executable()
	var data []byte
	if err == nil {
		data, err = os.ReadFile(self)
	}
	program := filepath.Join(binFolder(s), "ask-proxy")
	if err == nil {
		err = os.WriteFile(program, data, 0o755)
	}
	if err == nil {
		err = os.Chmod(filepath.Dir(program), 0o755)
	}
	testenv.Must(s.T, err)
	cmd := exec.CommandContext(s.T.Context(), program, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// doctor says of its proxy checks.
func (s *scene) doctorOf(name string) string {
	s.T.Helper()
	var doc struct{ Checks []checkDoc }
	testenv.Must(s.T, json.Unmarshal([]byte(s.Run("", "doctor", "--json").Out), &doc))
	var all []string
	for _, c := range doc.Checks {
		if c.Name == name {
			all = append(all, string(c.Status)+": "+c.Message+" ("+c.Hint+")")
		}
	}
	return strings.Join(all, "\n")
}

// doctor tells whether the serve that clients are set up for is there, and what else has
// its place.
func TestServeDoctor(t *testing.T) {
	t.Parallel()
	s := newServeScene(t, nil)
	wants := func(name string, parts ...string) {
		t.Helper()
		got := s.doctorOf(name)
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("doctor says %q, not %q", got, part)
			}
		}
		if len(parts) == 0 && got != "" {
			t.Errorf("doctor says %q", got)
		}
	}
	wants("proxy")
	v := s.serve()
	address := strings.TrimPrefix(v.url, "http://")
	s.Must("", "setup", "claude-code", "sim", "--proxy", "--yes") // which is for the one that runs
	wants("proxy", fmt.Sprintf("ok: authferry serve (pid %d) listens at %s since ", v.cmd.Process.Pid, address))
	wants("claude-code", "ok: Claude Code is set up ")
	v.signal(syscall.SIGKILL)
	v.end()
	wants("proxy", "warning: Claude Code is set up for authferry serve at "+address+", and none is running (authferry serve --listen "+address+")")
	wants("leftovers", "warning: a killed process left ", folder.ServeSocket)
	s.Must("", "doctor", "--fix")
	wants("leftovers")

	squatter, err := net.Listen("tcp", address)
	testenv.Must(t, err)
	wants("proxy", "warning: Claude Code is set up for authferry serve at "+address+", and another program has that port")
	w := s.serve()
	wants("proxy", "warning: Claude Code is set up for authferry serve at "+address+", which listens at "+strings.TrimPrefix(w.url, "http://")+" (authferry setup claude-code --proxy)")
	s.Must("", "setup", "claude-code", "sim", "--proxy", "--yes")
	if got := s.doctorOf("proxy"); strings.Contains(got, "warning") {
		t.Errorf("doctor says %q", got)
	}
	_ = squatter.Close()
	w.signal(syscall.SIGTERM)
	w.end()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return
	}
	address = strings.TrimPrefix(w.url, "http://")
	nobody := s.asNobody("--squat", address)
	stdin, err := nobody.StdinPipe()
	testenv.Must(t, err)
	stdout, err := nobody.StdoutPipe()
	if err == nil {
		err = nobody.Start()
	}
	testenv.Must(t, err)
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if line != "ready <nil>\n" {
		t.Fatalf("the other user can't listen: %s", line)
	}
	wants("proxy", "fail: Claude Code is set up for authferry serve at "+address+", and user ", " has that port; nothing is sent there (authferry serve --listen 127.0.0.1:PORT)")
	_ = stdin.Close()
	_ = nobody.Wait()
}
