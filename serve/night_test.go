package serve

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// chain is a keychain in memory that its user locks now and then.
type chain struct {
	mu     sync.Mutex
	items  map[string]keystore.Secret
	locked bool
}

func (c *chain) Kind() keystore.Kind { return keystore.Keychain }
func (c *chain) Backend() string     { return "memory" }

func (c *chain) do(op func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.locked {
		return &keystore.Error{Err: keystore.ErrLocked}
	}
	return op()
}

func (c *chain) Get(_ context.Context, name string) (s keystore.Secret, err error) {
	err = c.do(func() error {
		var ok bool
		if s, ok = c.items[name]; !ok {
			return &keystore.Error{Err: keystore.ErrNotFound}
		}
		return nil
	})
	return s, err
}

func (c *chain) Set(_ context.Context, name string, value keystore.Secret) error {
	return c.do(func() error { c.items[name] = value; return nil })
}

func (c *chain) Delete(_ context.Context, name string) error {
	return c.do(func() error { delete(c.items, name); return nil })
}

func (c *chain) lock(locked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locked = locked
}

// night is a provider with its API, and what the clients of the proxy may expect of it.
type night struct {
	mu      sync.Mutex
	tokens  map[string]*issued // by access token
	latest  map[string]*issued // by user
	limits  map[string]time.Time
	used    map[string]bool // access tokens that came
	stale   int             // requests with a token that is over
	limited int
	issues  int
}

type issued struct {
	who, access, refresh string
	until                time.Time
}

const lifetime = time.Hour

func (n *night) issue(who string) *issued {
	n.issues++
	i := &issued{who, fmt.Sprintf("at-%s-%d", who, n.issues), fmt.Sprintf("rt-%s-%d", who, n.issues), time.Now().Add(lifetime)}
	n.tokens[i.access], n.latest[who] = i, i
	return i
}

// RoundTrip is the network: the token endpoint, and an API that streams.
func (n *night) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	time.Sleep(200 * time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	w := httptest.NewRecorder()
	if r.URL.Path == "/token" {
		_, form, _ := strings.Cut(string(body), "refresh_token=")
		sent, _, _ := strings.Cut(form, "&")
		for who, l := range n.latest {
			if l.refresh == sent {
				i := n.issue(who)
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"token_type":"Bearer","expires_in":%d}`, i.access, i.refresh, int(lifetime.Seconds()))
				return w.Result(), nil
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
		return w.Result(), nil
	}
	i := n.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	switch {
	case i == nil || !time.Now().Before(i.until):
		n.stale++
		w.WriteHeader(http.StatusUnauthorized)
	case time.Now().Before(n.limits[i.who]):
		n.limited++
		w.Header().Set("Retry-After", fmt.Sprint(int(time.Until(n.limits[i.who]).Seconds())+1))
		w.WriteHeader(http.StatusTooManyRequests)
	default:
		n.used[i.access] = true
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, scripts[messages].early+scripts[messages].content+scripts[messages].last)
	}
	return w.Result(), nil
}

// mustWork reports that an account can serve a request: its API takes it, its token is
// valid, and the proxy has that in memory or the keychain is open.
func (n *night) mustWork(locked bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for who, i := range n.latest {
		// Retry-After is in whole seconds, and so is what is remembered of an expiry.
		if time.Since(n.limits[who]) > 2*time.Second && time.Until(i.until) > pool.DefaultMinTTL+2*time.Second && (!locked || n.used[i.access]) {
			return true
		}
	}
	return false
}

// Twelve hours of two clients at work, on three accounts whose tokens end and are
// refreshed, whose limits are met and pass, with a keychain that is locked for a while
// again and again: no request fails that need not.
func TestTwelveHours(t *testing.T) {
	old := record.BootNow // which goes on in real time
	record.BootNow = func() record.Boot { return record.Boot{} }
	t.Cleanup(func() { record.BootNow = old })
	signals := make(chan os.Signal, 1) // a rotator catches some; the first who does must not be in the bubble
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	t.Cleanup(func() { signal.Reset() })
	dir := filepath.Join(t.TempDir(), "authferry")
	// The files' times are real ones. Before these, no file counts as old enough to be
	// the one that was read already.
	start := time.Now().Add(-48 * time.Hour)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(start))
		n := &night{tokens: map[string]*issued{}, latest: map[string]*issued{}, limits: map[string]time.Time{}, used: map[string]bool{}}
		keychain := &chain{items: map[string]keystore.Secret{}}
		opt := broker.Options{
			Dir: dir, Self: filepath.Join(dir, "nothing"), OpenKeychain: func() keystore.Store { return keychain },
			Client: oauth.Client{Transport: func() http.RoundTripper { return n }},
		}
		const origin = "https://api.sim.example"
		provider := oauth.Provider{Name: "sim", Issuer: origin, TokenEndpoint: origin + "/token", ClientID: "sim", APIOrigins: []string{origin}, Headers: []string{"authorization: Bearer {token}"}}
		ids := map[string]string{}
		users := []string{"ada", "bob", "eve"}
		for k, who := range users {
			n.mu.Lock()
			i := n.issue(who)
			i.until = time.Now().Add(lifetime - time.Duration(k)*17*time.Minute)
			n.mu.Unlock()
			v, err := account.Add(t.Context(), folder.New(opt), account.NewAccount{Label: who, Provider: provider, ExpiresAt: i.until,
				AccessToken: keystore.NewSecret(i.access), RefreshToken: keystore.NewSecret(i.refresh), ObtainedAt: i.until.Add(-lifetime)})
			testenv.Must(t, err)
			ids[who] = v.ID
		}
		proxy := New(Options{
			Broker: broker.NewKeeper(opt), Key: keystore.NewSecret(localKey), Hosts: []string{"localhost"}, Transport: n, Patience: 10 * time.Second, Strange: true,
			Routes: map[string]Route{"sim": {Selection: pool.Selection{Provider: "sim"}, Paths: []string{"/v1"}}},
			Say:    func(t Trouble) string { return cmp.Or(fmt.Sprint(t.Err), "trouble") },
		})
		hours := proofs.Size(2, 12)
		end := time.Now().Add(time.Duration(hours) * time.Hour)
		var all sync.WaitGroup
		// The rotators, which in real life are processes that the proxy starts in the same
		// minute: they come when a token is in its soft margin, and fail at a locked keychain.
		all.Go(func() {
			for time.Now().Before(end) {
				for _, who := range users {
					n.mu.Lock()
					left := time.Until(n.latest[who].until)
					n.mu.Unlock()
					if left < 7*time.Minute {
						b := broker.New(opt)
						v, err := broker.Info(b.Folder, ids[who])
						if err != nil {
							t.Error(err)
							return
						}
						_ = rotation.Rotate(t.Context(), b.Folder, v.ID, rotation.Wish{Beyond: v.Generation, Background: true})
					}
				}
				time.Sleep(time.Minute)
			}
		})
		random := rand.New(rand.NewPCG(11, 30))
		locks, locked := 0, false
		var state sync.Mutex // of locked
		all.Go(func() {
			for time.Now().Before(end) {
				time.Sleep(20*time.Minute + rand.N(time.Minute))
				for _, now := range []bool{true, false} {
					state.Lock()
					keychain.lock(now)
					locked = now
					state.Unlock()
					if now {
						locks++
						time.Sleep(10 * time.Minute)
					}
				}
			}
		})
		requests, failed, excused := 0, 0, 0
		for k := range 2 {
			all.Go(func() {
				time.Sleep(time.Duration(k) * 7 * time.Second)
				for time.Now().Before(end) {
					n.mu.Lock()
					held := 0
					for _, until := range n.limits {
						if time.Now().Before(until) {
							held++
						}
					}
					if who := users[random.IntN(len(users))]; held < 2 && random.IntN(30) == 0 && !time.Now().Before(n.limits[who]) {
						n.limits[who] = time.Now().Add(time.Duration(1+random.IntN(15)) * time.Minute)
					}
					n.mu.Unlock()
					state.Lock()
					must := n.mustWork(locked)
					state.Unlock()
					r := httptest.NewRequest(http.MethodPost, "http://localhost/sim/v1/messages", strings.NewReader(`{"stream":true}`))
					r.RequestURI, r.URL.Scheme, r.URL.Host = "/sim/v1/messages", "", ""
					r.Header.Set("X-Api-Key", localKey)
					r.Header.Set("X-Claude-Code-Session-Id", fmt.Sprint(k))
					w := httptest.NewRecorder()
					proxy.ServeHTTP(w, r)
					requests++
					state.Lock()
					must = must && n.mustWork(locked) // the other client may have met a limit meanwhile
					state.Unlock()
					switch {
					case w.Code == http.StatusOK && strings.HasSuffix(w.Body.String(), scripts[messages].last):
					case must:
						if failed++; failed < 5 {
							t.Errorf("after %v: %d %s", time.Since(start).Round(time.Second), w.Code, w.Body)
						}
					default:
						excused++
					}
					time.Sleep(15 * time.Second)
				}
			})
		}
		all.Wait()
		proxy.Close()
		t.Logf("%d requests, %d failed, %d could not but fail; %d limits met, %d times locked, %d tokens, %d sent too late", requests, failed, excused, n.limited, locks, n.issues, n.stale)
		if requests < 400*hours || n.limited < 2*hours || locks < hours || n.issues < 2*hours || excused > requests/20 {
			t.Error("that was no such night")
		}
		if !slices.ContainsFunc(users, func(who string) bool { return n.used[n.latest[who].access] }) {
			t.Error("nobody's last token was used")
		}
	})
}
