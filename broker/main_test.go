package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// TestMain makes the test binary a small authferry when it is started as one:
// "token" and the rotator, with a seam that kills the process at a point.
func TestMain(m *testing.M) {
	if name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"); name != "authferry" {
		rotation.InProcess = inProcess
		os.Exit(testenv.Alone(m).Run())
	}
	if path := os.Getenv("TEST_POINTS"); path != "" {
		folder.Reached = func(p string) { note(path, p) }
	}
	if point := os.Getenv("TEST_KILL_AT"); point != "" {
		folder.Reached = func(p string) {
			if p == point && claim(os.Getenv("TEST_KILL_ONCE")) {
				killSelf()
			}
		}
	}
	b := New(Options{Dir: os.Getenv("AUTHFERRY_DIR"), KeyFile: os.Getenv("AUTHFERRY_KEY_FILE"),
		KeychainTimeout: envDuration("AUTHFERRY_KEYCHAIN_TIMEOUT"), LockTimeout: envDuration("AUTHFERRY_LOCK_TIMEOUT"), HTTPTimeout: envDuration("AUTHFERRY_HTTP_TIMEOUT"),
		Client: oauth.Client{Timeout: envDuration("TEST_PATIENCE")},
		Warn:   func(m string, _ ...fault.Remedy) { fmt.Fprintln(os.Stderr, "warning:", m) }})
	var err error
	switch args := os.Args[1:]; args[0] {
	case rotation.Command:
		beyond, _ := strconv.Atoi(args[2])
		err = rotation.Main(context.Background(), b.Folder, args[1], rotation.Wish{Beyond: beyond, Rejected: slices.Contains(args, "--rejected"), Background: slices.Contains(args, "--background"),
			Person: slices.Contains(args, "--person"), Now: slices.Contains(args, "--now")}, os.Stdout)
	case "add":
		_, err = account.Add(context.Background(), b.Folder, testLogin(os.Getenv("TEST_SERVER"), args[1], args[2], args[3], -time.Second))
	case "login":
		_, err = account.Login(context.Background(), b.Folder, account.LoginRequest{Provider: "sim"}, account.Person{Open: func(address string) {
			go func() {
				if res, err := (&http.Client{}).Get(address); err == nil {
					_ = res.Body.Close()
				}
			}()
		}})
	case "remove":
		how := account.RevokeOwn
		if slices.Contains(args, "--no-revoke") {
			how = account.RevokeNever
		}
		_, err = account.Remove(context.Background(), b.Folder, args[1], how)
	case "token":
		var tok *Token
		if tok, err = b.Token(context.Background(), TokenRequest{Selection: pool.Selection{Account: os.Getenv("TEST_ACCOUNT")}, MinTTL: pool.DefaultMinTTL, Rejected: os.Getenv("TEST_REJECTED")}); err == nil {
			fmt.Println(tok.AccessToken.Reveal())
		}
	}
	if err != nil {
		_ = json.NewEncoder(os.Stderr).Encode(said(err))
		os.Exit(1)
	}
	os.Exit(0)
}

// said is what a process says of err to the one that started it.
func said(err error) *fault.Error {
	told := &fault.Error{Code: fault.CodeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		told.Next, told.RetryAt, told.Own = e.Next, e.RetryAt, e.Own
	}
	return told
}

func envDuration(name string) time.Duration {
	d, _ := time.ParseDuration(os.Getenv(name))
	return d
}

// note writes down when a point was folder.Reached.
func note(path, point string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintln(f, point, time.Now().UnixNano())
		_ = f.Close()
	}
}

// claim is true for the first process that asks.
func claim(path string) bool {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = f.Close()
	}
	return err == nil
}

func killSelf() {
	p, _ := os.FindProcess(os.Getpid())
	_ = p.Kill()
	select {}
}

// world is a folder with a file keystore, and an authorization server.
type world struct {
	t      *testing.T
	dir    string
	server *brokertest.Server
	env    []string
	apart  atomic.Bool // processes were made for it, which may have left rotators
}

// atWork are the folders in which rotators of this process are at work, with their number.
var atWork sync.Map

// inProcess is rotation.InProcess.
func inProcess(dir string, rotate func()) {
	n, _ := atWork.LoadOrStore(dir, new(atomic.Int32))
	n.(*atomic.Int32).Add(1)
	go func() {
		defer n.(*atomic.Int32).Add(-1)
		rotate()
	}()
}

// Its test runs beside others.
func newWorld(t *testing.T, cfg brokertest.Config) *world {
	t.Helper()
	beside(t)
	return newWorldAlone(t, cfg)
}

// besides are the tests that run beside others.
var besides sync.Map

// beside lets a test run beside others from then on, its own parts apart: mostly it
// waits for disk, network and other processes.
func beside(t *testing.T) {
	if _, again := besides.LoadOrStore(t, true); !again && !strings.Contains(t.Name(), "/") {
		t.Parallel()
	}
}

// newWorldAlone is for a test that changes what the process has once, or comes back to a
// port that another one could have taken.
func newWorldAlone(t *testing.T, cfg brokertest.Config) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "authferry"), server: brokertest.New(t, cfg)}
	testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), w.broker().Folder, filepath.Join(t.TempDir(), "key.txt"))))
	t.Cleanup(func() { w.waitForRotators() })
	return w
}

// broker makes a Broker in this process, where its rotations run too.
func (w *world) broker() *Broker {
	return New(Options{Dir: w.dir, Warn: func(m string, _ ...fault.Remedy) { w.t.Log("warning: " + m) },
		Hint: func(e *fault.Error) string { return fmt.Sprint(e.Next) }})
}

func testProvider(server string) oauth.Provider {
	return oauth.Provider{Name: "sim", Issuer: server, TokenEndpoint: server + "/token", RevocationEndpoint: server + "/revoke",
		ClientID: "authferry-sim", APIOrigins: []string{server}}
}

func testLogin(server, label, accessToken, refreshToken string, ttl time.Duration) account.NewAccount {
	return account.NewAccount{Provider: testProvider(server), Label: label, Imported: true,
		AccessToken: keystore.NewSecret(accessToken), RefreshToken: keystore.NewSecret(refreshToken), ExpiresAt: time.Now().Add(ttl).UTC()}
}

// add imports a login of user whose access token lives for ttl.
func (w *world) add(user string, ttl time.Duration) *index.Account {
	w.t.Helper()
	g := w.server.Issue(user)
	a, err := account.Add(w.t.Context(), w.broker().Folder, testLogin(w.server.URL, user, g.AccessToken, g.RefreshToken, ttl))
	testenv.Must(w.t, err)
	return a
}

// account is the entry as it is now.
func (w *world) account(id string) index.Account {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	testenv.Must(w.t, err)
	a := idx.Account(id)
	if a == nil {
		w.t.Fatalf("account %s is gone", id)
	}
	return *a
}

// command is a process of its own that asks for a token.
func (w *world) command(env ...string) *exec.Cmd {
	w.t.Helper()
	self, err := os.Executable()
	testenv.Must(w.t, err)
	w.apart.Store(true)
	cmd := exec.Command(self)
	cmd.Args = []string{"authferry", "token"}
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = slices.Concat(os.Environ(), []string{"AUTHFERRY_DIR=" + w.dir}, w.env, env)
	return cmd
}

// answer is what such a process said.
type answer struct {
	token string
	err   *fault.Error
	text  string
}

// askApart asks in a process of its own, with more environment.
func (w *world) askApart(env ...string) answer { return w.run(w.command(env...)) }

// ask is askApart, in this process if the world has no environment of its own.
func (w *world) ask() answer {
	if len(w.env) > 0 {
		return w.askApart()
	}
	var a answer
	b := New(Options{Dir: w.dir, Warn: func(m string, _ ...fault.Remedy) { a.text += "warning: " + m + "\n" }})
	tok, err := b.Token(w.t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
	if err != nil {
		a.err = said(err)
		return a
	}
	a.token = tok.AccessToken.Reveal()
	return a
}

func (w *world) run(cmd *exec.Cmd) answer {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	a := answer{token: strings.TrimSpace(out.String()), text: errs.String()}
	if err == nil {
		return a
	}
	for line := range strings.Lines(errs.String()) {
		var e fault.Error
		if json.Unmarshal([]byte(line), &e) == nil && e.Code != "" {
			a.err = &e
		}
	}
	if a.err == nil {
		a.err = fault.Errorf(fault.Internal, "%v: %s", err, errs.String())
	}
	return a
}

// good checks that the API takes the token.
func (w *world) good(token string) bool {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.server.URL+"/userinfo", nil)
	testenv.Must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.server.Client().Do(req)
	testenv.Must(w.t, err)
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// await returns when the ledger is as wanted; the test ends if it never is.
func (w *world) await(what string, holds func(brokertest.Ledger) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.server.WaitFor(ctx, holds); err != nil {
		w.t.Fatalf("waiting for %s: %v", what, err)
	}
}

// waitForRotators returns when nobody holds a rotation lock, nor is about to.
func (w *world) waitForRotators() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for pause := 5 * time.Millisecond; ctx.Err() == nil; pause *= 2 {
		locks, _ := filepath.Glob(filepath.Join(w.dir, "locks", "*.lock"))
		for _, path := range locks {
			if l, err := lock.Acquire(ctx, path); err == nil {
				l.Release()
			}
		}
		n, ok := atWork.Load(w.dir)
		if (!ok || n.(*atomic.Int32).Load() == 0) && (!w.apart.Load() || len(testenv.Working(w.dir)) == 0) { // a rotator that just started holds no lock yet
			return
		}
		time.Sleep(pause)
	}
}

// open is the folder of b with its keystore open.
func open(t testing.TB, b *Broker) *folder.Opened {
	t.Helper()
	idx, err := b.Folder.Read()
	testenv.Must(t, err)
	o, err := b.Folder.Open(idx)
	testenv.Must(t, err)
	return o
}

// raw is the keystore of b's folder, item by item.
func raw(t testing.TB, b *Broker) keystore.Store {
	t.Helper()
	idx, err := b.Folder.Read()
	testenv.Must(t, err)
	kind, err := b.Folder.Kind(idx)
	testenv.Must(t, err)
	if kind == keystore.Keychain {
		return b.Folder.OpenKeychain()
	}
	s, err := keystore.OpenFile(b.Folder.Vault(), b.Folder.KeyFileOf(idx))
	testenv.Must(t, err)
	return s
}
