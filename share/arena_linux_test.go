package share_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

var (
	arenaDuration  = flag.Duration("duration", 0, "how long the arena lasts (0: briefly)")
	arenaSeed      = flag.Uint64("seed", 0, "of the arena's schedules; 0: another one each time")
	arenaMachines  = flag.Int("machines", 4, "of the arena")
	arenaProcesses = flag.Int("processes", 2, "that each machine of the arena has at once")
	arenaLocks     = flag.Duration("locks", 20*time.Second, "how long the arena has machines with a lock in their place")
)

// Machines of processes that rotate the accounts of one pool, on a real etcd of three nodes
// and at a strict authorization server, while everything goes wrong that troubles lists. A
// login is lost only in the window that doc.go states: for each account there are no more
// reuses, and no more lost logins, than deaths in it and answers that never came.
//
// Beside it, with the same kills and stops, machines that do what other programs do.
func TestArena(t *testing.T) {
	if *arenaDuration == 0 {
		proofs.Only(t, "three etcds and a herd of processes fight for a while")
		*arenaDuration = 35 * time.Second
	}
	sharetest.Need(t)
	sharetest.NeedRedis(t)
	seed := *arenaSeed
	if seed == 0 {
		seed = rand.Uint64() // #nosec G404 -- a test
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a test
	accounts := 12 + int(5*arenaDuration.Minutes())
	a := newArena(t, sharetest.New(t, sharetest.Options{Nodes: 3}), *arenaMachines, accounts, 2*time.Second, r)
	if runtime.GOARCH == "amd64" {
		a.setClocks()
	}
	a.fight(*arenaDuration)
	a.settle()
	a.restoreBackup()
	a.judge(*arenaDuration)
	if t.Failed() || *arenaLocks == 0 {
		return
	}
	l := newLockArena(t, *arenaMachines, accounts, 2*time.Second, r)
	l.fight(*arenaLocks)
	l.release()
	t.Logf("at a strict server    %s", tallies)
	t.Logf("authferry             %s", a.tally(*arenaDuration))
	t.Logf("a lock, TTL %-9s %s", "3s", l.tally(*arenaLocks))
}

// arena is where they meet.
type arena struct {
	t       *testing.T
	cluster *sharetest.Cluster
	redis   *sharetest.Redis // nil: they are authferry's
	server  *brokertest.Server
	users   []string // of the accounts, in the order in which they are used
	ids     map[string]string
	begun   time.Time
	dir     string
	paused  atomic.Bool

	engine sync.Mutex // while it is hurt
	lines  sync.Mutex // while a machine is cut off

	mu      sync.Mutex
	r       *rand.Rand
	all     []*fighter
	running map[*exec.Cmd]*shot
	shots   int
	clones  int
	window  map[string]int       // deaths between send and store, and answers that never came, by user
	stuck   map[string]time.Time // since when an account waits for a machine
	resting map[string]bool      // accounts that a person takes care of
	count   map[string]int       // what happened, by its name
}

// fighter is a machine.
type fighter struct {
	arena   *arena
	name    string
	dir     string
	host    string
	passing bool
	clock   time.Duration      // that it is ahead
	copied  bool               // it has a clone, or is one
	taps    []*sharetest.Proxy // its lines to the engine; none: it uses the engine's own addresses

	cutUntil time.Time // calls to the engine fail
	started  int       // processes
	backups  [][]byte  // of its index, the oldest some seconds old
}

// dialEtcd is the Dialer of authferry-share.
func dialEtcd(_ context.Context, c share.Connection) (engine.Engine, error) {
	return etcd.Open(etcd.Config{Endpoints: c.Endpoints, CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
}

func emptyArena(t *testing.T, life time.Duration, r *rand.Rand) *arena {
	t.Helper()
	return &arena{t: t, r: r, ids: map[string]string{}, window: map[string]int{}, stuck: map[string]time.Time{}, resting: map[string]bool{}, count: map[string]int{},
		running: map[*exec.Cmd]*shot{}, begun: time.Now(), dir: t.TempDir(),
		server: brokertest.New(t, brokertest.Config{Rotation: brokertest.Strict, AccessTTL: life, Latency: 60 * time.Millisecond})}
}

func newArena(t *testing.T, cluster *sharetest.Cluster, machines, accounts int, life time.Duration, r *rand.Rand) *arena {
	t.Helper()
	a := emptyArena(t, life, r)
	a.cluster = cluster
	for i := range machines {
		x := &fighter{arena: a, name: fmt.Sprintf("m%d", i), host: fmt.Sprint(i), passing: i%2 == 1}
		home := t.TempDir()
		x.dir = filepath.Join(home, "authferry")
		testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), x.folder(), filepath.Join(home, "key.txt"))))
		made := a.cluster.Holder(t, x.name)
		if i == 0 {
			for n := range accounts {
				x.login(fmt.Sprintf("user%03d", n))
			}
			testenv.Must(t, testenv.Err(share.Start(t.Context(), x.folder(), dialEtcd, pipe.StartRequest{Pool: "work", Machine: x.name, Endpoints: a.cluster.Endpoints(),
				Credentials: pipe.Credentials{CA: string(made.CA), Cert: string(made.Cert), Key: string(made.Key)}})))
		} else {
			invited, err := share.Invite(t.Context(), a.all[0].folder(), dialEtcd, pipe.InviteRequest{Pool: "work", Cert: string(made.Cert), Key: string(made.Key), Passing: x.passing, For: time.Hour})
			testenv.Must(t, err)
			testenv.Must(t, testenv.Err(share.Join(t.Context(), x.folder(), dialEtcd, pipe.JoinRequest{Ticket: invited.Ticket, Machine: x.name})))
		}
		a.all = append(a.all, x)
	}
	return a
}

// setClocks puts the clock of every third machine hours ahead, another number each.
func (a *arena) setClocks() {
	for i, x := range a.all {
		if i%3 == 1 {
			x.clock = time.Duration(3+i) * time.Hour
		}
	}
}

func (x *fighter) folder() *folder.Folder { return folder.New(folder.Options{Dir: x.dir}) }

func (x *fighter) now() time.Time { return time.Now().Add(x.clock) }

func (x *fighter) login(user string) {
	x.arena.t.Helper()
	g, u := x.arena.server.Issue(user), x.arena.server.URL
	v, err := account.Add(x.arena.t.Context(), x.folder(), account.NewAccount{Label: user, Pool: "work", RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken),
		ExpiresAt: time.Now().Add(time.Second).UTC(), Identity: oauth.Identity{Issuer: u, Subject: user},
		Provider: oauth.Provider{Name: "sim", Issuer: u, TokenEndpoint: u + "/token", ClientID: "authferry-sim", APIOrigins: []string{u}}})
	testenv.Must(x.arena.t, err)
	x.arena.users, x.arena.ids[user] = append(x.arena.users, user), v.ID
}

func (x *fighter) entry(user string) index.Account {
	idx, err := x.folder().Read()
	testenv.Must(x.arena.t, err)
	return *idx.Account(x.arena.ids[user])
}

// over reports whether the machine has no valid token of an account.
func (x *fighter) over(user string) bool {
	if x.arena.redis != nil {
		return !x.arena.tokens(user).Expires.After(time.Now())
	}
	return !x.entry(user).ExpiresAt.After(x.now())
}

func (a *arena) draw(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.r.IntN(n)
}

// between is a time between two.
func (a *arena) between(from, to time.Duration) time.Duration {
	return from + time.Duration(a.draw(int((to-from)/time.Millisecond)))*time.Millisecond
}

func (a *arena) happened(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count[what]++
}

// machines are all so far.
func (a *arena) machines() []*fighter {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*fighter{}, a.all...)
}

// target is an account to work on: one of the first few whose login lives.
func (a *arena) target() string {
	revoked := a.revoked()
	a.mu.Lock()
	defer a.mu.Unlock()
	few := 3 + len(a.all)/6
	var alive []string
	for _, u := range a.users {
		if revoked[u] == 0 && !a.resting[u] && len(alive) < few {
			alive = append(alive, u)
		}
	}
	if len(alive) == 0 {
		return ""
	}
	return alive[a.r.IntN(len(alive))]
}

// fight lets all machines work, with everything that goes wrong, for a while.
func (a *arena) fight(d time.Duration) {
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for _, x := range a.all {
		x.work(ctx, &all)
	}
	a.trouble(ctx, &all, d)
	all.Wait()
}

// work has some processes of the machine rotate what is over, one after the other.
func (x *fighter) work(ctx context.Context, all *sync.WaitGroup) {
	for range *arenaProcesses {
		all.Go(func() {
			for ctx.Err() == nil {
				user := ""
				if !x.arena.paused.Load() {
					user = x.arena.target()
				}
				if user == "" || !x.over(user) {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				x.shoot(ctx, all, user)
			}
		})
	}
}

// settle ends all trouble, and has every machine get the newest token of the accounts that
// were used.
func (a *arena) settle() {
	a.release()
	deadline := time.Now().Add(2*time.Minute + time.Duration(len(a.all))*5*time.Second)
	before := len(a.revoked())
	for _, user := range a.users {
		if !a.used(user) {
			continue
		}
		for _, x := range a.all {
			for {
				code := x.rotate(user)
				if code == "" || code == fault.LoginNeeded && a.revoked()[user] > 0 {
					break
				}
				if time.Now().After(deadline) {
					a.t.Errorf("%s never gets a token of %s: %s", x.name, user, code)
					break
				}
				a.care(user)
			}
		}
	}
	a.t.Logf("logins lost before the end %d, after it %d", before, len(a.revoked()))
}

// used reports whether an account was refreshed or lost.
func (a *arena) used(user string) bool {
	for _, f := range a.server.Ledger().Of(user) {
		if f.Refreshes > 0 || f.Revoked() {
			return true
		}
	}
	return false
}

// release lets all processes end, and the engine be well.
func (a *arena) release() {
	if !a.ended("", time.Minute) {
		a.t.Error("there are processes that don't end")
	}
	a.engine.Lock()
	defer a.engine.Unlock()
	if a.redis == nil {
		a.cluster.Restore(a.t)
	}
}

// ended waits until no process works on an account, or on any; those that are stopped go on.
func (a *arena) ended(user string, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := 0
		a.mu.Lock()
		for cmd, s := range a.running {
			if user == "" || s.user == user {
				left++
				s.free(cmd)
			}
		}
		a.mu.Unlock()
		if left == 0 || time.Now().After(deadline) {
			return left == 0
		}
	}
}

// rotate has the machine get a newer token, in a process that nothing happens to.
func (x *fighter) rotate(user string) fault.Code {
	return x.rotateBeyond(user, x.entry(user).Generation)
}

// rotateBeyond is rotate for a generation above another one.
func (x *fighter) rotateBeyond(user string, beyond int, env ...string) fault.Code {
	cmd, _ := x.process(user, beyond, append(env, "ARENA_PERSON=1")...)
	out, _ := cmd.Output()
	var report report
	if json.Unmarshal(out, &report) != nil {
		return fault.Internal
	}
	return report.code()
}

// report is what a process prints.
type report struct {
	Error *struct {
		Code    fault.Code
		Message string
	}
	Recovered bool
}

func (r *report) code() fault.Code {
	if r.Error == nil {
		return ""
	}
	return r.Error.Code
}

// revoked has the logins that have ended, by user.
func (a *arena) revoked() map[string]int {
	lost := map[string]int{}
	for _, f := range a.server.Ledger().Families {
		if f.Revoked() {
			lost[f.User]++
		}
	}
	return lost
}

// judge compares what happened with what may.
func (a *arena) judge(d time.Duration) {
	reuse, lost := a.reuse(), a.revoked()
	for _, user := range a.users {
		if reuse[user] > a.window[user] || lost[user] > a.window[user] {
			a.t.Errorf("%s: %d reuses, %d logins lost, and %d deaths, unanswered and untold requests in the window", user, reuse[user], lost[user], a.window[user])
			a.t.Log(a.story(user))
		}
	}
	a.t.Logf("%s: %d processes of %d machines; what happened to them:", time.Since(a.begun).Round(time.Second), a.shots, len(a.all))
	for _, x := range troubles {
		a.t.Logf("%6d  %s", a.count[x.name], x.name)
		if a.count[x.name] == 0 && d >= x.within {
			a.t.Errorf("in %s this never happened: %s", d, x.name)
		}
	}
	for _, name := range outcomes {
		a.t.Logf("%6d  %s", a.count[name], name)
	}
	if a.server.TokenRequests() == 0 {
		a.t.Error("nothing was rotated")
	}
}

// reuse is how often a spent refresh token was sent, by user.
func (a *arena) reuse() map[string]int {
	all := map[string]int{}
	for _, r := range a.server.Ledger().Reuse {
		all[r.User]++
	}
	return all
}

// story is what the server saw of a login.
func (a *arena) story(user string) string {
	var text strings.Builder
	for _, f := range a.server.Ledger().Of(user) {
		for i, r := range f.RefreshTokens {
			for _, s := range r.Sends {
				if i >= len(f.RefreshTokens)-3 || s.Outcome != brokertest.Rotated {
					fmt.Fprintf(&text, "%s: token %d of %s: %s\n", s.At.Format("15:04:05.000"), i, user, s.Outcome)
				}
			}
		}
	}
	for _, x := range a.all {
		events, _ := os.ReadFile(x.diary(user))
		fmt.Fprintf(&text, "%s (passing %v, %s ahead):\n%s", x.name, x.passing, x.clock, events)
	}
	return text.String()
}

// tallies are the columns of tally.
const tallies = "  lasted  requests  refreshes    killed  in the window  reuses outside   lost outside"

// tally is what came of it, in numbers. Outside are those that no death and no unanswered
// request explains.
func (a *arena) tally(d time.Duration) string {
	l := a.server.Ledger()
	inside, outside := 0, [2]int{}
	reuse, lost := a.reuse(), a.revoked()
	for _, user := range a.users {
		inside += a.window[user]
		outside[0] += max(0, reuse[user]-a.window[user])
		outside[1] += max(0, lost[user]-a.window[user])
	}
	return fmt.Sprintf("%8s  %8d  %9d  %8d  %13d  %6d %7d  %5d %7d", d, l.TokenRequests, l.Refreshes(""), a.count[killed]+a.count[killedAt]+a.count[fenced], inside, len(l.Reuse), outside[0], len(lost), outside[1])
}
