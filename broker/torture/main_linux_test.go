package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

var (
	full     = flag.Bool("full", false, "kill at every system call, not at a sample of them")
	allKinds = flag.Bool("sweeps", false, "sample every sweep, not others each time")
	duration = flag.Duration("duration", 0, "how long to run random schedules (default: half a minute where the proofs run, else a moment)")
	seed     = flag.Uint64("seed", 0, "the seed of the random schedules; 0: another one each time")
)

// roles are what this test binary can be started as, besides as a test.
var roles = map[string]func(args []string) int{}

func TestMain(m *testing.M) {
	if role := roles[os.Getenv("TORTURE_ROLE")]; role != nil {
		os.Exit(role(os.Args[1:]))
	}
	code := testenv.Alone(m).Run()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir)
	}
	os.Exit(code)
}

var builds struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// program is the path of the real authferry, built once.
func program(t *testing.T) string {
	t.Helper()
	return compiled(t, "authferry", func(string) []string { return nil })
}

// compiled builds the program as flags say, once, and returns its path.
func compiled(t *testing.T, name string, flags func(dir string) []string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	if path := builds.paths[name]; path != "" {
		return path
	}
	if builds.dir == "" {
		var err error
		if builds.dir, err = os.MkdirTemp("", "authferry-torture"); err != nil {
			t.Fatal(err)
		}
		builds.paths = map[string]string{}
	}
	path := filepath.Join(builds.dir, name)
	testenv.Must(t, testenv.Build("authferry", path, flags(builds.dir)...))
	builds.paths[name] = path
	return path
}

// world is a folder with its keystore, used by the real program against an
// authorization server that keeps books.
type world struct {
	t      testing.TB
	bin    string
	home   string
	dir    string
	server *brokertest.Server
	env    []string
	key    string // the key file of a file keystore; empty: a keychain
}

// newWorld makes a folder whose secrets are in sealed files, or, where env leads
// to a keychain, in that.
func newWorld(t *testing.T, server *brokertest.Server, keychain []string) *world {
	t.Helper()
	w := openWorld(t, program(t), t.TempDir(), server, keychain)
	t.Cleanup(w.settle)
	return w
}

func openWorld(t testing.TB, bin, home string, server *brokertest.Server, keychain []string) *world {
	w := &world{t: t, bin: bin, home: home, dir: filepath.Join(home, "af"), server: server}
	w.env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return !strings.HasPrefix(e, "PATH=") }),
		"HOME="+home, "TMPDIR="+os.TempDir(), "XDG_RUNTIME_DIR="+home, "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(home, "none"), "DISPLAY=", "WAYLAND_DISPLAY=")
	w.env = append(w.env, keychain...)
	w.env = append(w.env, "AUTHFERRY_DIR="+w.dir, "AUTHFERRY_KEYCHAIN_TIMEOUT=1m") // a busy machine's keychain is slow
	if keychain == nil {
		w.key = filepath.Join(home, "key.txt")
		w.must("", "keystore", "init", "--key-file", w.key)
	}
	w.must("", "provider", "add", "sim", "--issuer", server.URL, "--client-id", "authferry-sim", "--api-origin", server.URL)
	return w
}

// result is what a process of the program said.
type result struct {
	code     int // -1: killed
	out, err string
	failure  string // the code in the document
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.bin, args...)
	cmd.Env = slices.Clone(w.env)
	cmd.Dir = w.home
	cmd.WaitDelay = 30 * time.Second // a machine that pauses must not cost an output
	return cmd
}

// attempt is one run of a command.
type attempt struct {
	args  []string
	stdin string
	login bool // follow the address that it prints, as a browser whose owner consents at once
	// started is called with the process id, once there is one.
	started func(pid int)
}

// attempt runs cmd, which a describes.
func (w *world) attempt(cmd *exec.Cmd, a attempt) result {
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(a.stdin), &out, &errs
	var visits sync.WaitGroup
	closeOutput := func() {}
	if a.login {
		read, write := io.Pipe()
		cmd.Stdout = io.MultiWriter(&out, write)
		closeOutput = func() { _ = write.Close() }
		visits.Go(func() { consent(read) })
	}
	err := cmd.Start()
	if err == nil {
		if a.started != nil {
			a.started(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	closeOutput()
	visits.Wait()
	return resultOf(cmd, err, out.String(), errs.String())
}

// consent follows the addresses in what login prints.
func consent(lines io.Reader) {
	var visits sync.WaitGroup
	for d := json.NewDecoder(lines); ; {
		var line struct{ Event, URL string }
		if d.Decode(&line) != nil {
			break
		}
		if line.Event == "authorization_url" {
			visits.Go(func() {
				for range 5 { // a fault of the server's may strike a connection of ours
					if res, err := (&http.Client{Timeout: time.Minute}).Get(line.URL); err == nil {
						_ = res.Body.Close()
						return
					}
				}
			})
		}
	}
	_, _ = io.Copy(io.Discard, lines)
	visits.Wait()
}

func resultOf(cmd *exec.Cmd, err error, out, errs string) result {
	r := result{code: -1, out: out, err: errs}
	if cmd.ProcessState != nil {
		r.code = cmd.ProcessState.ExitCode()
	}
	if r.code == 0 && err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		r.code = -1
	}
	var doc struct {
		Error struct{ Code string } `json:"error"`
	}
	for line := range strings.Lines(out) {
		if json.Unmarshal([]byte(line), &doc) == nil && doc.Error.Code != "" {
			r.failure = doc.Error.Code
		}
	}
	return r
}

func (w *world) run(stdin string, args ...string) result {
	return w.attempt(w.command(args...), attempt{stdin: stdin})
}

func (w *world) must(stdin string, args ...string) result {
	w.t.Helper()
	r := w.run(stdin, args...)
	if r.code != 0 {
		w.t.Fatalf("authferry %s: exit code %d\n%s", strings.Join(args, " "), r.code, r.err)
	}
	return r
}

// grant is a login of user as import grant reads it, whose access token ends
// after ttl.
func (w *world) grant(user string, ttl time.Duration) string {
	g := w.server.Issue(user)
	data, err := json.Marshal(map[string]any{
		"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_at": time.Now().Add(ttl).UTC().Format(time.RFC3339),
	})
	testenv.Must(w.t, err)
	return string(data)
}

// add imports such a login and returns the account's id.
func (w *world) add(user string, ttl time.Duration) string {
	w.t.Helper()
	r := w.must(w.grant(user, ttl), "import", "grant", "sim", "--label", user, "--json")
	var doc struct{ Accounts []struct{ ID string } }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.Accounts) != 1 {
		w.t.Fatalf("%v: %s", err, r.out)
	}
	return doc.Accounts[0].ID
}

// index is the index as it is; nil where there is none.
func (w *world) index() (*index.Index, error) {
	idx, err := index.At(w.dir).Read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return idx, err
}

// good reports that the API takes the token.
func (w *world) good(token string) bool {
	token = strings.TrimSpace(token)
	if token == "" {
		return false
	}
	req, err := http.NewRequest(http.MethodGet, w.server.URL+"/userinfo", http.NoBody)
	testenv.Must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.server.Client().Do(req)
	testenv.Must(w.t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// running are the processes that work on the world's folder, or where it was moved to.
func (w *world) running() []string { return testenv.Working(w.dir) }

// settle returns when no process works on the folder any more and no lock is
// held.
func (w *world) settle() {
	for deadline := time.Now().Add(2 * time.Minute); len(w.running()) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	locks, _ := filepath.Glob(filepath.Join(w.dir, "locks", "*.lock"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, path := range locks {
		if l, err := lock.Acquire(ctx, path); err == nil {
			l.Release()
		}
	}
}

// sound checks what must be true at any instant: the index parses and is its
// owner's alone (I8), no token stands in a file that is not sealed (I7), no
// process and no lock is left (I9).
func (w *world) sound() (broken []string) {
	if pids := w.running(); len(pids) > 0 {
		broken = append(broken, "I9: processes are left: "+strings.Join(pids, " "))
	}
	if _, err := w.index(); err != nil {
		broken = append(broken, "I8: "+err.Error())
	}
	locks, _ := filepath.Glob(filepath.Join(w.dir, "locks", "*.lock"))
	for _, path := range locks {
		l, err := lock.TryAcquire(path)
		if err != nil {
			broken = append(broken, "I9: "+err.Error())
			continue
		}
		l.Release()
	}
	err := filepath.WalkDir(w.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, w.dir) && info.Mode().Perm()&0o077 != 0 && info.Mode()&fs.ModeSymlink == 0 {
			broken = append(broken, "I8: "+path+" is open to others: "+info.Mode().String())
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("afat_")) || bytes.Contains(data, []byte("afrt_")) || bytes.Contains(data, []byte("afak_")) {
			broken = append(broken, "I7: "+path+" holds a token")
		}
		return err
	})
	if err != nil {
		broken = append(broken, err.Error())
	}
	return broken
}

// check is one line of doctor.
type check struct{ Name, Status, Message, Hint string }

func (w *world) doctor(args ...string) []check {
	r := w.run("", append([]string{"doctor", "--json"}, args...)...)
	var doc struct{ Checks []check }
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || len(doc.Checks) == 0 {
		return []check{{Name: "doctor", Status: "fail", Message: fmt.Sprintf("exit code %d: %s%s", r.code, r.out, r.err)}}
	}
	return doc.Checks
}

// mended runs doctor --fix on what killed processes left, as old as it takes for
// that to be a leftover, and returns what it could not mend.
func (w *world) mended() (left []string) {
	old := time.Now().Add(-2 * time.Hour)
	_ = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".tmp") {
			_ = os.Chtimes(path, old, old)
		}
		return nil
	})
	w.doctor("--fix")
	for _, c := range w.doctor() {
		if c.Status != "ok" {
			left = append(left, fmt.Sprintf("doctor: %s: %s: %s", c.Name, c.Status, c.Message))
		}
	}
	_ = filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".tmp") {
			left = append(left, "doctor left "+path)
		}
		return nil
	})
	return left
}
