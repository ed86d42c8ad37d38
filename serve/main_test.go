package serve

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// TestMain makes the test binary the rotator when it is started as one, and looks
// whether anything is left running.
func TestMain(m *testing.M) {
	if args := os.Args[1:]; strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "authferry" && args[0] == rotation.Command {
		beyond, _ := strconv.Atoi(args[2])
		b := broker.New(broker.Options{Dir: os.Getenv("AUTHFERRY_DIR")})
		if rotation.Main(context.Background(), b.Folder, args[1], rotation.Wish{Beyond: beyond, Rejected: slices.Contains(args, "--rejected"), Background: slices.Contains(args, "--background")}, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testenv.LeavingNothing(m, "authferry/serve", "net/http"))
}

const localKey = "local-key-canary"

// seen is one request as the API got it.
type seen struct {
	who, method, path, query string
	header                   http.Header
	body                     []byte
	length                   int64
}

// fakeAPI is an API whose tokens are "token-LABEL".
type fakeAPI struct {
	*httptest.Server
	mu       sync.Mutex
	requests []seen
	answer   http.HandlerFunc // X-Who is whose token came
}

func newAPI(t testing.TB) *fakeAPI {
	t.Helper()
	f := &fakeAPI{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.RawQuery, header: r.Header.Clone(), length: r.ContentLength}
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.who = strings.TrimPrefix(token, "token-")
		s.body, _ = io.ReadAll(r.Body)
		f.mu.Lock()
		f.requests = append(f.requests, s)
		answer := f.answer
		f.mu.Unlock()
		r.Header.Set("X-Who", s.who)
		r.Body = io.NopCloser(bytes.NewReader(s.body))
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeAPI) will(answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.requests = answer, nil
}

func (f *fakeAPI) all() []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// asked is whose tokens came, in order.
func (f *fakeAPI) asked() string {
	var who []string
	for _, s := range f.all() {
		who = append(who, s.who)
	}
	return strings.Join(who, " ")
}

// world is a folder with accounts of provider sim, an API, and a proxy in front.
type world struct {
	t     testing.TB
	dir   string
	api   *fakeAPI
	b     *broker.Broker
	proxy *Proxy
	addr  net.Addr
	url   string // of the proxy
	stop  func() // ends it
	opt   Options
	log   bytes.Buffer
}

// newWorld has an account for each label, in this order.
func newWorld(t testing.TB, labels ...string) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "authferry"), api: newAPI(t)}
	w.b = broker.New(broker.Options{Dir: w.dir})
	testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), w.b.Folder, filepath.Join(t.TempDir(), "key.txt"))))
	for _, label := range labels {
		w.add(account.NewAccount{Label: label, Provider: w.provider(), AccessToken: keystore.NewSecret("token-" + label)})
	}
	w.opt = Options{
		Broker: broker.NewKeeper(broker.Options{Dir: w.dir}), Key: keystore.NewSecret(localKey),
		Routes:   map[string]Route{"sim": {Selection: pool.Selection{Provider: "sim"}, Paths: []string{"/v1", "/v1beta", "HEAD /healthz"}, Lists: []string{"anthropic-beta"}}},
		Say:      func(t Trouble) string { return "trouble " + strconv.Itoa(int(t.Kind)) },
		Patience: 10 * time.Second,
	}
	return w
}

func (w *world) provider() oauth.Provider {
	return oauth.Provider{Name: "sim", Issuer: w.api.URL, TokenEndpoint: w.api.URL + "/token", ClientID: "sim",
		APIOrigins: []string{w.api.URL}, Headers: []string{"authorization: Bearer {token}", "anthropic-beta: oauth-beta, common-beta"}}
}

func (w *world) add(n account.NewAccount) {
	w.t.Helper()
	n.Imported = true
	testenv.Must(w.t, testenv.Err(account.Add(w.t.Context(), w.b.Folder, n)))
}

// open starts the proxy, which ends with the test.
func (w *world) open() *world {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(w.t, err)
	w.addr, w.url = l.Addr(), "http://"+l.Addr().String()
	w.opt.Hosts = HostsOf(w.addr)
	w.proxy = New(w.opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.proxy.Serve(ctx, l, 0) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		testenv.Check(w.t, <-done)
	})
	w.t.Cleanup(w.stop)
	return w
}

// free clears every hold and makes the first account current.
func (w *world) free(labels ...string) {
	w.t.Helper()
	for _, label := range labels {
		testenv.Must(w.t, testenv.Err(account.ClearHolds(w.t.Context(), w.b.Folder, label, "")))
	}
	testenv.Must(w.t, testenv.Err(account.Use(w.t.Context(), w.b.Folder, labels[0])))
	w.proxy.ramps, w.proxy.sessions = ramps{}, sessions{}
}

// holds are an account's, as "scope source".
func (w *world) holds(label string) string {
	w.t.Helper()
	v, err := broker.Info(w.b.Folder, label)
	testenv.Must(w.t, err)
	var all []string
	for _, h := range v.Holds {
		all = append(all, h.Scope+" "+h.Source)
	}
	return strings.Join(all, ", ")
}

// refused reports whether an account is held because the API refuses its token.
func (w *world) refused(label string) bool {
	w.t.Helper()
	v, err := broker.Info(w.b.Folder, label)
	testenv.Must(w.t, err)
	return slices.ContainsFunc(v.Holds, func(h pool.HoldView) bool { return h.Refused })
}

// got is an answer as a client sees it.
type got struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func (w *world) request(method, path, body string, headers ...string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+"/sim"+path, strings.NewReader(body))
	testenv.Must(w.t, err)
	r.Header.Set("X-Api-Key", localKey)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (w *world) do(r *http.Request) got {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return got{err: err}
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	return got{res.StatusCode, res.Header, string(data), err}
}

func (w *world) post(path, body string, headers ...string) got {
	w.t.Helper()
	return w.do(w.request(http.MethodPost, path, body, headers...))
}

// limits is an answer that refuses some accounts by status and headers, and serves the
// others "ok WHO".
func limits(status int, header map[string]string, body string, who ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(who, r.Header.Get("X-Who")) {
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}
		_, _ = io.WriteString(w, "ok "+r.Header.Get("X-Who"))
	}
}

// streams is an answer of events, each flushed; a piece that is "CUT" breaks the
// connection.
func streams(pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, p := range pieces {
			if p == "CUT" {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, p)
			w.(http.Flusher).Flush()
		}
	}
}

// either answers by whose token came.
func either(who string, his, others http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Who") == who {
			his(w, r)
			return
		}
		others(w, r)
	}
}

func contextOf(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

func brokerAccount(label string, p oauth.Provider, origins []string) account.NewAccount {
	p.APIOrigins = origins
	return account.NewAccount{Label: label, Provider: p, AccessToken: keystore.NewSecret("token-" + label)}
}
