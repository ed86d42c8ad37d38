package share_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
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
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

// scene is some machines, an engine that they share, and a provider.
type scene struct {
	t      *testing.T
	server *brokertest.Server
	memory *enginetest.Memory
	engine share.Dialer // nil: memory
	before func()       // before each connection; may be nil
	begin  time.Time

	mu    sync.Mutex
	lines []*enginetest.Faulty // all connections so far
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, server: brokertest.New(t, brokertest.Config{Rotation: brokertest.Strict}), memory: enginetest.NewMemory(), begin: time.Now()}
}

// machine is one of them: a folder with a keystore of its own.
type machine struct {
	*scene
	name  string
	dir   string
	key   string
	fault func(enginetest.Call) enginetest.Fault // of each connection from now on
}

func (s *scene) machine(name string) *machine {
	s.t.Helper()
	home := s.t.TempDir()
	m := &machine{scene: s, name: name, dir: filepath.Join(home, "authferry"), key: filepath.Join(home, "key.txt")}
	testenv.Must(s.t, testenv.Err(folder.InitFileKeystore(s.t.Context(), m.folder(), m.key)))
	return m
}

func (m *machine) folder() *folder.Folder {
	return folder.New(folder.Options{Dir: m.dir, Warn: func(text string, _ ...fault.Remedy) { m.t.Log(m.name + ": warning: " + text) }})
}

func (m *machine) dial(ctx context.Context, c share.Connection) (engine.Engine, error) {
	if m.before != nil {
		m.before()
	}
	if m.engine != nil {
		return m.engine(ctx, c)
	}
	line := enginetest.NewFaulty(m.memory)
	line.Inject(m.fault)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, line)
	return line, nil
}

// written is every value that any machine has sent to the engine, and where to.
func (s *scene) written() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	for _, line := range s.lines {
		for _, c := range line.Calls() {
			all[c.Key] += string(c.Value) + "\n"
		}
	}
	return all
}

func (s *scene) provider() oauth.Provider {
	u := s.server.URL
	return oauth.Provider{Name: "sim", Issuer: u, TokenEndpoint: u + "/token", RevocationEndpoint: u + "/revoke", ClientID: "authferry-sim", APIOrigins: []string{u}}
}

// login adds an account with a login of user.
func (m *machine) login(user string) *index.Account {
	m.t.Helper()
	g := m.server.Issue(user)
	return m.add(account.NewAccount{Label: user, RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken), ExpiresAt: time.Now().Add(time.Hour).UTC(),
		Identity: oauth.Identity{Issuer: m.server.URL, Subject: user, Name: user + "@example.com"}})
}

// loginAgain is what a person's new login of an account does. It returns the access token.
func (m *machine) loginAgain(id, user string) string {
	m.t.Helper()
	g := m.server.Issue(user)
	_, err := account.Replace(m.t.Context(), m.folder(), id, account.NewAccount{Provider: m.provider(), RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken),
		ExpiresAt: time.Now().Add(time.Hour).UTC(), Identity: oauth.Identity{Issuer: m.server.URL, Subject: user}})
	testenv.Must(m.t, err)
	return g.AccessToken
}

// apiKey adds an account that is an API key.
func (m *machine) apiKey(user string) *index.Account {
	m.t.Helper()
	return m.add(account.NewAccount{Label: user + "-key", APIKey: keystore.NewSecret(m.server.IssueKey(user))})
}

func (m *machine) add(n account.NewAccount) *index.Account {
	m.t.Helper()
	n.Provider, n.Pool = m.provider(), "work"
	a, err := account.Add(m.t.Context(), m.folder(), n)
	testenv.Must(m.t, err)
	return a
}

func (m *machine) startRequest() pipe.StartRequest {
	return pipe.StartRequest{Pool: "work", Machine: m.name, Endpoints: []string{"http://127.0.0.1:1"}}
}

func (m *machine) start() {
	m.t.Helper()
	done, err := share.Start(m.t.Context(), m.folder(), m.dial, m.startRequest())
	testenv.Must(m.t, err)
	if done.Pool.Engine != "ok" || done.Pool.Role != "holder" || done.Pool.Machine != m.name {
		m.t.Errorf("%+v", done.Pool)
	}
}

func (m *machine) invite(req pipe.InviteRequest) *pipe.InviteResult {
	m.t.Helper()
	req.Pool = "work"
	done, err := share.Invite(m.t.Context(), m.folder(), m.dial, req)
	testenv.Must(m.t, err)
	return done
}

func (m *machine) join(ticket string) {
	m.t.Helper()
	testenv.Must(m.t, testenv.Err(share.Join(m.t.Context(), m.folder(), m.dial, pipe.JoinRequest{Ticket: ticket, Machine: m.name})))
}

// joined is a new machine that has joined by an invitation of m.
func (m *machine) joined(name string, req pipe.InviteRequest) *machine {
	m.t.Helper()
	x := m.machine(name)
	x.join(m.invite(req).Ticket)
	return x
}

// two are machines that share the pool of an account, which was the first one's.
func two(t *testing.T) (s *scene, laptop, desktop *machine, ada *index.Account) {
	t.Helper()
	s = newScene(t)
	laptop = s.machine("laptop")
	ada = laptop.login("ada")
	laptop.start()
	return s, laptop, laptop.joined("desktop", pipe.InviteRequest{}), ada
}

func (m *machine) index() *index.Index {
	m.t.Helper()
	idx, err := m.folder().Read()
	testenv.Must(m.t, err)
	return idx
}

func (m *machine) labels() string {
	m.t.Helper()
	var labels []string
	for _, a := range m.index().Members("work") {
		labels = append(labels, a.Label)
	}
	return strings.Join(labels, " ")
}

func (m *machine) account(id string) *index.Account {
	m.t.Helper()
	a := m.index().Account(id)
	if a == nil {
		m.t.Fatalf("%s has no account %s", m.name, id)
	}
	return a
}

// refresh rotates an account, which others have perhaps done already.
func (m *machine) refresh(id string) error {
	m.t.Helper()
	return refreshWith(m, m.folder(), id)
}

func refreshWith(m *machine, f *folder.Folder, id string) error {
	return rotation.Rotator{Folder: f, Peers: share.NewPeers(m.dial)}.Rotate(m.t.Context(), id, rotation.Wish{Beyond: m.account(id).Generation, Person: true, Since: time.Now()})
}

func (m *machine) open() *folder.Opened {
	m.t.Helper()
	o, err := m.folder().Open(m.index())
	testenv.Must(m.t, err)
	return o
}

// token is the access token that the machine would hand out, or its API key.
func (m *machine) token(id string) string {
	m.t.Helper()
	o := m.open()
	a := m.account(id)
	if a.Kind == index.KindAPIKey {
		g, err := o.Folder.APIKey(m.t.Context(), o.Index, a)
		testenv.Must(m.t, err)
		return g.APIKey.Reveal()
	}
	acc, err := o.Folder.Access(m.t.Context(), o.Index, a)
	testenv.Must(m.t, err)
	if acc == nil {
		m.t.Fatalf("%s has no access token of %s", m.name, a.Label)
	}
	return acc.AccessToken.Reveal()
}

func (m *machine) refreshToken(id string) string {
	m.t.Helper()
	stored, err := m.open().Grants(m.t.Context(), id)
	testenv.Must(m.t, err)
	if stored.Best == nil {
		return ""
	}
	return stored.Best.RefreshToken.Reveal()
}

func (m *machine) status() pipe.Pool {
	m.t.Helper()
	done, err := share.Status(m.t.Context(), m.folder(), m.dial, pipe.PoolRequest{Pool: "work"})
	testenv.Must(m.t, err)
	return done.Pools[0]
}

func (m *machine) doctor(fix bool) []pipe.Check {
	m.t.Helper()
	done, err := share.Doctor(m.t.Context(), m.folder(), m.dial, pipe.DoctorRequest{Fix: fix})
	testenv.Must(m.t, err)
	return done.Checks
}

// wants looks for a check with this status and text.
func wants(t *testing.T, checks []pipe.Check, status, text string) {
	t.Helper()
	if !slices.ContainsFunc(checks, func(c pipe.Check) bool { return c.Status == status && strings.Contains(c.Message, text) }) {
		t.Errorf("no check is %s and says %q: %+v", status, text, checks)
	}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code || err == nil {
		t.Errorf("%v, want %s", err, code)
	}
}

// reaching is called at each point of the work.
var reaching atomic.Pointer[func(point string)]

func init() {
	folder.Reached = func(point string) {
		if do := reaching.Load(); do != nil {
			(*do)(point)
		}
	}
}

// onReaching has do called at each point of the work, also by goroutines that are at it,
// until stop is called.
func onReaching(do func(point string)) (stop func()) {
	old := reaching.Swap(&do)
	return func() { reaching.Store(old) }
}

// crash is what a killed process is in these tests.
type crash struct{ at string }

// crashing calls do, which dies when it reaches a point for the n-th time, from 1. It
// reports whether it did.
func crashing(t *testing.T, at string, n int, do func() error) (died bool) {
	t.Helper()
	stop := onReaching(func(point string) {
		if point != at {
			return
		}
		if n--; n == 0 {
			panic(crash{point})
		}
	})
	defer func() {
		stop()
		if r := recover(); r != nil {
			if _, ours := r.(crash); !ours {
				panic(r)
			}
			died = true
		}
	}()
	if err := do(); err != nil {
		t.Errorf("before %s: %v", at, err)
	}
	return false
}

// sameEverywhere checks that machines have the same tokens of an account, once each has
// looked at the engine.
func sameEverywhere(t *testing.T, id string, all ...*machine) {
	t.Helper()
	for _, m := range all {
		if m.account(id).Kind == index.KindOAuth {
			testenv.Must(t, rotation.Rotator{Folder: m.folder(), Peers: share.NewPeers(m.dial)}.Rotate(t.Context(), id, rotation.Wish{}))
		}
	}
	for _, m := range all[1:] {
		if m.token(id) != all[0].token(id) {
			t.Errorf("%s and %s have different tokens", m.name, all[0].name)
		}
	}
}

func (m *machine) String() string { return fmt.Sprint(m.name) }
