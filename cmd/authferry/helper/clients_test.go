package helper_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(authferrytest.Alone(m).Run()) }

// These tests run the real clients of the helper protocols. Each talks to a site
// of its own on loopback, which lets in whom the API of the scene's authorization
// server lets in.

// usesCertificateFile: programs in Go heed SSL_CERT_FILE here.
const usesCertificateFile = runtime.GOOS != "windows" && runtime.GOOS != "darwin"

// scene is a user of the program as it is installed.
type scene struct{ *authferrytest.Scene }

func newScene(t *testing.T, cfg brokertest.Config) *scene {
	t.Helper()
	return &scene{authferrytest.New(t, authferrytest.Built(t), cfg)}
}

type outcome = authferrytest.Outcome

// site is what a client asks, and its log.
type site struct {
	*httptest.Server
	s  *scene
	mu sync.Mutex
	// answers are a line for each request: "STATUS USER PATH".
	answers []string
}

// newSite serves handle, behind the gate, with TLS or without.
func newSite(s *scene, secure bool, handle http.Handler) *site {
	s.T.Helper()
	c := &site{s: s}
	gated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.admit(w, r) {
			handle.ServeHTTP(w, r)
		}
	})
	if !secure {
		c.Server = httptest.NewServer(gated)
	} else {
		c.Server = httptest.NewUnstartedServer(gated)
		c.Config.ErrorLog = log.New(io.Discard, "", 0)
		c.StartTLS()
	}
	s.T.Cleanup(c.Close)
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", c.URL)
	return c
}

func (c *site) host() string { return strings.TrimPrefix(c.URL, "https://") }

// certificate is the file with the site's certificate, in PEM.
func (c *site) certificate() string {
	c.s.T.Helper()
	path := filepath.Join(c.s.Root, "site.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	testenv.Must(c.s.T, os.WriteFile(path, data, 0o600))
	return path
}

// admit asks the API about the request's token, and answers as it does where that
// is not 200.
func (c *site) admit(w http.ResponseWriter, r *http.Request) bool {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	}
	status, user, header := c.ask(token)
	c.mu.Lock()
	c.answers = append(c.answers, fmt.Sprintf("%d %s %s", status, user, r.URL.Path))
	c.mu.Unlock()
	if status == http.StatusOK {
		return true
	}
	maps.Copy(w.Header(), header)
	w.Header().Set("WWW-Authenticate", `Basic realm="site"`)
	w.WriteHeader(status)
	return false
}

func (c *site) ask(token string) (status int, user string, header http.Header) {
	req, err := http.NewRequest(http.MethodGet, c.s.Server.URL+"/api/", http.NoBody)
	if err != nil {
		return http.StatusInternalServerError, err.Error(), nil
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.s.Server.Client().Do(req)
	if err != nil {
		return http.StatusInternalServerError, err.Error(), nil
	}
	defer res.Body.Close()
	var doc struct {
		User string `json:"user"`
	}
	body, _ := io.ReadAll(res.Body)
	_ = json.Unmarshal(body, &doc)
	header = http.Header{}
	if after := res.Header.Get("Retry-After"); after != "" {
		header.Set("Retry-After", after)
	}
	return res.StatusCode, doc.User, header
}

// before runs do as soon as path is asked for, before that is answered.
func (c *site) before(path string, do func()) {
	gate, once := c.Config.Handler, sync.OnceFunc(do)
	c.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			once()
		}
		gate.ServeHTTP(w, r)
	})
}

// count is how many answers begin with the words.
func (c *site) count(words string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, a := range c.answers {
		if strings.HasPrefix(a+" ", words+" ") {
			n++
		}
	}
	return n
}

// forget empties the log.
func (c *site) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = nil
}

// logIn adds accounts of these users, labelled as they are named, to one pool.
func (c *site) logIn(users ...string) {
	c.s.T.Helper()
	for _, user := range users {
		c.s.Must(c.s.Grant(user, time.Hour), "import", "grant", "sim", "--label", user)
	}
}

// expire makes every token that was issued so far one that the site refuses,
// without authferry knowing.
func (c *site) expire() { c.s.Server.Advance(2 * time.Hour) }

// limit lets the site answer user with 429 from now on, or so many times.
func (c *site) limit(user string, times int, retryAfter string) {
	c.s.Server.Inject(brokertest.Fault{On: brokertest.OnAPI, User: user, Times: times, Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": retryAfter}})
}

// wantRefreshes holds the rotation counter, and that nothing was sent twice.
func (c *site) wantRefreshes(n int) {
	c.s.T.Helper()
	if l := c.s.Server.Ledger(); l.Refreshes("") != n || len(l.Reuse) > 0 || l.Revoked() > 0 {
		c.s.T.Errorf("%d refreshes, want %d; %d reuses; %d logins revoked", l.Refreshes(""), n, len(l.Reuse), l.Revoked())
	}
}

// named is the path of the program under one of its names.
func (s *scene) named(name string) string {
	return filepath.ToSlash(filepath.Join(filepath.Dir(s.Program), authferrytest.Exe(name)))
}

// client finds a program, or skips the test where there is none.
func client(t *testing.T, name, how string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: %s", name, how)
	}
	return path
}

// How long a client, and an installation, may take on the slowest day.
const (
	clientTime  = 3 * time.Minute
	installTime = 10 * time.Minute
)

// with runs a client in dir as the scene's user.
func (s *scene) with(dir string, env []string, name string, args ...string) outcome {
	s.T.Helper()
	return s.withFor(clientTime, dir, env, name, args...)
}

func (s *scene) withFor(limit time.Duration, dir string, env []string, name string, args ...string) outcome {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = slices.Concat(s.Env, env), dir, 5*time.Second
	return s.Finish(cmd)
}

// works is with for what has to succeed.
func (s *scene) works(dir string, env []string, name string, args ...string) outcome {
	s.T.Helper()
	return s.worksFor(clientTime, dir, env, name, args...)
}

func (s *scene) worksFor(limit time.Duration, dir string, env []string, name string, args ...string) outcome {
	s.T.Helper()
	got := s.withFor(limit, dir, env, name, args...)
	if got.Code != 0 {
		s.T.Fatalf("%s %s: exit code %d\n%s%s", filepath.Base(name), strings.Join(args, " "), got.Code, got.Out, got.Err)
	}
	return got
}

// tarball is a .tar.gz of some files.
func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		testenv.Must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}))
		testenv.Must(t, testenv.Err(io.WriteString(w, files[name])))
	}
	testenv.Must(t, w.Close())
	testenv.Must(t, z.Close())
	return b.Bytes()
}
