package share

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// model is a pool of machines in one process, on simulated time: an engine in memory, and a
// strict authorization server.
type model struct {
	t       *testing.T
	engine  *enginetest.Memory
	server  *strictServer
	ring    seal.Ring
	account string
	all     []*machine

	mu   sync.Mutex
	told []string // what happened, for a test that fails
}

// note keeps a line for a test that fails.
func (m *model) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

const modelPool = "pool_aaaaaaaaaaaaaaaa"

// machine is one of them: a folder and a keychain.
type machine struct {
	model   *model
	id      string
	passing bool
	role    seal.Role
	dir     string
	chain   *memoryChain
}

// inBubble runs test on simulated time. Its machines share one boot clock.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	signals := make(chan os.Signal, 1) // a rotator catches some; the first who does must not be in the bubble
	signal.Notify(signals, os.Interrupt)
	signal.Stop(signals)
	defer signal.Reset()
	oldBoot, oldFence, oldReached := record.BootNow, newFence, folder.Reached
	defer func() { record.BootNow, newFence, folder.Reached = oldBoot, oldFence, oldReached }()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		record.BootNow = func() record.Boot { return record.Boot{ID: "boot", At: time.Since(begin)} }
		newFence = func() fence { return &modelFence{} }
		folder.Reached = reached
		defer time.Sleep(2 * tellFor) // until what was killed has given up
		test(t)
	})
}

// newModel makes a pool of n machines whose access token is over.
func newModel(t *testing.T, n int) *model {
	t.Helper()
	return newModelWithGrace(t, n, 0)
}

// newModelWithGrace is newModel at a provider that takes a refresh token again for a while.
func newModelWithGrace(t *testing.T, n int, grace time.Duration) *model {
	t.Helper()
	keys, err := seal.NewKeys(1)
	testenv.Must(t, err)
	m := &model{t: t, engine: enginetest.NewMemory(), server: newStrictServer(), ring: seal.Ring{keys}}
	m.server.grace = grace
	for i := range n {
		m.join(fmt.Sprintf("mach_%016s", strings.Repeat(string(rune('a'+i)), 16)[:16]))
	}
	return m
}

// join adds a machine. The first one brings the account.
func (m *model) join(id string) *machine {
	m.t.Helper()
	x := &machine{model: m, id: id, role: seal.Holder, dir: filepath.Join(m.t.TempDir(), "authferry"), chain: &memoryChain{items: map[string]keystore.Secret{}}}
	ctx := m.t.Context()
	f := x.folder()
	if m.account == "" {
		access, refresh := m.server.login()
		const origin = "https://api.sim.example"
		a, err := account.Add(ctx, f, account.NewAccount{Label: "ada", AccessToken: keystore.NewSecret(access), RefreshToken: keystore.NewSecret(refresh),
			Provider:   oauth.Provider{Name: "sim", Issuer: origin, TokenEndpoint: origin + "/token", ClientID: "sim", APIOrigins: []string{origin}, Headers: []string{"authorization: Bearer {token}"}, RefreshGrace: m.server.grace.String()},
			ObtainedAt: time.Now().Add(-modelLife - time.Minute), ExpiresAt: time.Now().Add(-time.Minute)})
		testenv.Must(m.t, err)
		m.account = a.ID
		idx, err := f.Read()
		testenv.Must(m.t, err)
		o, err := f.Open(idx)
		testenv.Must(m.t, err)
		stored, err := o.Grants(ctx, a.ID)
		testenv.Must(m.t, err)
		acc, _, err := o.Store.AccessOf(ctx, a.ID, stored.Best.Generation)
		testenv.Must(m.t, err)
		rec, err := seal.Seal(m.ring, seal.Contents{Pool: modelPool, Account: a.ID, Gen: 1, Grant: stored.Best, Access: acc, Public: seal.Public{Label: "ada", Provider: "sim", Kind: a.Kind}})
		testenv.Must(m.t, err)
		value, err := rec.Encode(m.ring)
		testenv.Must(m.t, err)
		m.engine.Put(Key("authferry", modelPool, "acc", a.ID), value)
		marked := *stored.Best
		marked.Share = modelPool
		testenv.Must(m.t, o.Store.SetGrant(ctx, stored.Slot, &marked))
	}
	_, err := f.Prepare(ctx, func(*index.Index) error { return nil })
	testenv.Must(m.t, err)
	testenv.Must(m.t, f.Update(ctx, index.Durable, func(idx *index.Index) error {
		idx.Keystore = string(keystore.Keychain)
		idx.Shares = []index.SharedPool{{ID: modelPool, Pool: "sim", Machine: id, Role: string(x.role)}}
		a := idx.Account(m.account)
		if a == nil {
			a = idx.Enlist(index.Account{ID: m.account, Label: "ada", Provider: "sim", Pool: "sim", Kind: index.KindOAuth, AddedAt: time.Now()})
		}
		a.Share = &index.Share{Pool: modelPool, Role: string(x.role)}
		return nil
	}))
	m.all = append(m.all, x)
	l, err := f.LockAccount(ctx, m.account, 0)
	testenv.Must(m.t, err)
	defer l.Release()
	idx, err := f.Read()
	testenv.Must(m.t, err)
	o, err := f.Open(idx)
	testenv.Must(m.t, err)
	here := &local{o: o, l: l}
	testenv.Must(m.t, here.reread(ctx))
	turn, err := x.start().peers().turn(ctx, here, rotation.Wish{})
	testenv.Must(m.t, err)
	testenv.Must(m.t, turn.reconcile(ctx))
	return x
}

func (x *machine) folder() *folder.Folder {
	return folder.New(folder.Options{Dir: x.dir, OpenKeychain: func() keystore.Store { return x.chain }})
}

// entry is the account as the machine's index has it.
func (x *machine) entry() *index.Account {
	idx, err := x.folder().Read()
	testenv.Must(x.model.t, err)
	return idx.Account(x.model.account)
}

// process is one rotator of a machine.
type process struct {
	*machine
	conn  *enginetest.Faulty
	fence *modelFence

	mu      sync.Mutex
	crashAt string                   // a point; empty: none
	pause   map[string]time.Duration // SIGSTOP at a point
	crashed bool                     // killed
	dead    func()
	gone    chan struct{} // closed once it is killed
	fault   func(enginetest.Call) enginetest.Fault
	opened  int
	cut     bool
	phase   string // "", "sent", "stored"
}

var errKilled = errors.New("killed")

// start makes a process, which does nothing yet.
func (x *machine) start() *process {
	gone := make(chan struct{})
	return &process{machine: x, conn: enginetest.NewFaulty(x.model.engine), fence: &modelFence{}, pause: map[string]time.Duration{}, gone: gone, dead: sync.OnceFunc(func() { close(gone) })}
}

// rotate asks for a token newer than the machine has, as a rotator does. It is errKilled if
// the process is killed.
func (p *process) rotate(w rotation.Wish) error {
	w.Beyond = p.entry().Generation
	return p.rotateBeyond(w)
}

func (p *process) rotateBeyond(w rotation.Wish) (err error) {
	f := folder.New(folder.Options{Dir: p.dir, OpenKeychain: func() keystore.Store { return p.chain },
		Client: oauth.Client{Transport: func() http.RoundTripper { return &transport{p.model.server, p} }}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		register(p)
		defer unregister()
		r := rotation.Rotator{Folder: f, Peers: p.peers()}
		e := r.Rotate(context.Background(), p.model.account, w)
		p.mu.Lock()
		defer p.mu.Unlock()
		err = e
		if p.crashed {
			err = errKilled
		}
	}()
	select {
	case <-done:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.crashed { // and ended before this was waiting
			return errKilled
		}
		return err
	case <-p.gone:
		for p.folder().Rotating(p.model.account) { // what it held is let go; what it still tries is in vain
			time.Sleep(time.Second)
		}
		return errKilled
	}
}

// peers are the others, as this process reaches them.
func (p *process) peers() *Peers {
	return &Peers{Open: func(context.Context, *folder.Opened, string) (*Seat, error) {
		p.mu.Lock()
		if p.opened > 0 && !p.crashed && !p.cut { // the first connection was closed
			p.conn = enginetest.NewFaulty(p.model.engine)
			p.conn.Inject(p.fault)
		}
		p.opened++
		p.mu.Unlock()
		return &Seat{Pool: modelPool, Prefix: "authferry", Machine: p.id, Role: p.role, Passing: p.passing, Keys: p.model.ring.For(p.role, false), Cluster: "memory", Engine: p.conn,
			Others: func(context.Context) (others []Other, err error) {
				for _, x := range p.model.all {
					others = append(others, Other{ID: x.id, Name: x.id[:6], Holder: x.role == seal.Holder})
				}
				return others, nil
			}}, nil
	}}
}

// inject makes fault decide about every call of the engine.
func (p *process) inject(fault func(enginetest.Call) enginetest.Fault) {
	p.fault = fault
	p.conn.Inject(fault)
}

// deliver has the swaps come that were late.
func (p *process) deliver() {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	conn.Deliver()
}

func (p *process) kill() {
	p.mu.Lock()
	p.crashed = true
	p.dead()
	p.mu.Unlock()
	p.conn.Partition()
}

// The processes by the number of their goroutine.
var processes sync.Map

func register(p *process) { processes.Store(goroutine("goroutine "), p) }
func unregister()         { processes.Delete(goroutine("goroutine ")) }

// goroutine is the number of this goroutine, or of the one that made it ("in goroutine ").
func goroutine(before string) string {
	buf := make([]byte, 64<<10)
	text := string(buf[:runtime.Stack(buf, false)])
	i := strings.LastIndex(text, before)
	if before == "goroutine " {
		i = 0
	}
	if i < 0 {
		return ""
	}
	var n string
	_, _ = fmt.Sscan(text[i+len(before):], &n)
	return n
}

// reached is what happens to a process at a point of its work.
func reached(point string) {
	main := true
	v, ok := processes.Load(goroutine("goroutine "))
	if !ok {
		main = false
		if v, ok = processes.Load(goroutine("in goroutine ")); !ok {
			return
		}
	}
	v.(*process).at(point, main)
}

func (p *process) at(point string, main bool) {
	p.model.note("%s %p %s", p.id[5:8], p, point)
	p.mu.Lock()
	pause := p.pause[point]
	delete(p.pause, point)
	p.mu.Unlock()
	if pause > 0 {
		time.Sleep(pause)
		if p.fence.over() { // the kernel has killed it meanwhile
			p.kill()
		}
	}
	p.mu.Lock()
	if p.crashAt == point {
		p.crashed = true
	}
	crashed := p.crashed
	if !crashed && (point == "K14" && !p.passing || point == "S6") {
		p.phase = "stored" // what a passing machine has stored alone is lost if it stays away
	}
	if crashed {
		p.dead()
	}
	p.mu.Unlock()
	if crashed {
		p.model.note("%s %p killed", p.id[5:8], p)
		p.conn.Partition()
		if main {
			runtime.Goexit()
		}
	}
}

// inWindow reports whether the process died between sending and storing.
func (p *process) inWindow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashed && p.phase == "sent"
}

// modelFence is the kernel's timer, for simulated time. It is looked at after a pause.
type modelFence struct {
	mu sync.Mutex
	at time.Time
}

func (f *modelFence) arm(d time.Duration) error {
	if v, ok := processes.Load(goroutine("goroutine ")); ok {
		f = v.(*process).fence
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = time.Now().Add(d)
	return nil
}

func (f *modelFence) disarm() {
	if v, ok := processes.Load(goroutine("goroutine ")); ok {
		f = v.(*process).fence
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = time.Time{}
}

func (f *modelFence) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.at.IsZero() && time.Now().After(f.at)
}

// clone is a copy of everything that the machine has on disk and in its keychain.
func (x *machine) clone() *machine {
	x.model.t.Helper()
	c := *x
	c.dir = filepath.Join(x.model.t.TempDir(), "authferry")
	testenv.Must(x.model.t, os.CopyFS(c.dir, os.DirFS(x.dir)))
	c.chain = &memoryChain{items: map[string]keystore.Secret{}}
	maps.Copy(c.chain.items, x.chain.items)
	return &c
}

// record is what the engine has of the account.
func (m *model) record() *seal.Record {
	m.t.Helper()
	e, _, err := m.engine.Get(context.Background(), Key("authferry", modelPool, "acc", m.account))
	testenv.Must(m.t, err)
	r, err := seal.Open(m.ring, modelPool, m.account, e.Value)
	testenv.Must(m.t, err)
	return r
}
