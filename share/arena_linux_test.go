package share_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
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
	arenaDuration = flag.Duration("duration", 0, "how long the arena lasts (0: briefly)")
	arenaSeed     = flag.Uint64("seed", 0, "of the arena's schedules; 0: another one each time")
)

// Machines of processes that rotate the accounts of one pool, on a real etcd of three nodes
// and at a strict authorization server. Processes are killed at any moment and at every
// point, stopped past every deadline; the engine loses its leader and its quorum, also just
// before an announcement and between an answer and its storing. A login is lost only in the
// window that doc.go states: for each account there are no more reuses, and no more lost
// logins, than deaths in it.
func TestArena(t *testing.T) {
	if *arenaDuration == 0 {
		proofs.Only(t, "three etcds and a herd of processes fight for a while")
		*arenaDuration = 35 * time.Second
	}
	sharetest.Need(t)
	duration, machines, accounts := *arenaDuration, 4, 12
	if duration > 2*time.Minute {
		machines, accounts = 8, 150
	}
	seed := *arenaSeed
	if seed == 0 {
		seed = rand.Uint64() // #nosec G404 -- a test
	}
	t.Logf("seed %d", seed)
	a := newArena(t, sharetest.New(t, sharetest.Options{Nodes: 3}), machines, accounts, 2*time.Second, rand.New(rand.NewPCG(seed, 0))) // #nosec G404 -- a test
	a.fight(duration)
	a.settle()
	a.restoreBackup()
	a.judge()
}

// arena is where they meet.
type arena struct {
	t       *testing.T
	cluster *sharetest.Cluster
	server  *brokertest.Server
	all     []*fighter
	users   []string // of the accounts, in the order in which they are used
	ids     map[string]string
	begun   time.Time
	snap    string // backup of the engine

	mu      sync.Mutex
	r       *rand.Rand
	running map[*exec.Cmd]*shot
	window  map[string]int // deaths between send and store, by user
	count   struct{ Rotations, Killed, Fenced, Stopped, InWindow, Leaders, Quorums, Cut, RolledBack, Cloned, Waiting, Unreachable, Unanswered, Recovered int }
	engine  sync.Mutex // while it is hurt
}

// fighter is a machine.
type fighter struct {
	*arena
	name    string
	dir     string
	host    string
	passing bool

	cutUntil time.Time // it can't reach the engine
	backup   []byte    // of its index, some seconds old
}

// shot is one process of a machine.
type shot struct {
	user, phase string
	passing     bool
	killed      bool
}

// dialEtcd is the Dialer of authferry-share.
func dialEtcd(_ context.Context, c share.Connection) (engine.Engine, error) {
	return etcd.Open(etcd.Config{Endpoints: c.Endpoints, CA: []byte(c.CA), Cert: []byte(c.Cert), Key: []byte(c.Key.Reveal())})
}

func newArena(t *testing.T, cluster *sharetest.Cluster, machines, accounts int, life time.Duration, r *rand.Rand) *arena {
	t.Helper()
	a := &arena{t: t, r: r, ids: map[string]string{}, window: map[string]int{}, running: map[*exec.Cmd]*shot{}, begun: time.Now()}
	a.cluster = cluster
	a.server = brokertest.New(t, brokertest.Config{Rotation: brokertest.Strict, AccessTTL: life, Latency: 60 * time.Millisecond})
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

func (x *fighter) folder() *folder.Folder { return folder.New(folder.Options{Dir: x.dir}) }

func (x *fighter) login(user string) {
	x.t.Helper()
	g, u := x.server.Issue(user), x.server.URL
	v, err := account.Add(x.t.Context(), x.folder(), account.NewAccount{Label: user, Pool: "work", RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken),
		ExpiresAt: time.Now().Add(time.Second).UTC(), Identity: oauth.Identity{Issuer: u, Subject: user},
		Provider: oauth.Provider{Name: "sim", Issuer: u, TokenEndpoint: u + "/token", ClientID: "authferry-sim", APIOrigins: []string{u}}})
	testenv.Must(x.t, err)
	x.users, x.ids[user] = append(x.users, user), v.ID
}

func (x *fighter) entry(user string) index.Account {
	idx, err := x.folder().Read()
	testenv.Must(x.t, err)
	return *idx.Account(x.ids[user])
}

func (a *arena) draw(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.r.IntN(n)
}

// target is an account to work on: one of the first few whose login lives.
func (a *arena) target() string {
	revoked := map[string]bool{}
	for _, f := range a.server.Ledger().Families {
		revoked[f.User] = f.Revoked()
	}
	var alive []string
	for _, u := range a.users {
		if !revoked[u] && len(alive) < 3 {
			alive = append(alive, u)
		}
	}
	if len(alive) == 0 {
		return ""
	}
	return alive[a.draw(len(alive))]
}

// fight lets all machines work, with everything that goes wrong, for a while.
func (a *arena) fight(d time.Duration) {
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for _, x := range a.all {
		x.work(ctx, &all)
	}
	all.Go(func() { a.trouble(ctx, &all, d) })
	all.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(4000+a.draw(6000)) * time.Millisecond):
				a.hurt(a.draw(2) == 0)
			}
		}
	})
	all.Wait()
}

// work has two processes of the machine rotate what is over, one after the other.
func (x *fighter) work(ctx context.Context, all *sync.WaitGroup) {
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				user := x.target()
				if user == "" {
					return
				}
				if v := x.entry(user); v.ExpiresAt.After(time.Now()) {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				x.shoot(user)
			}
		})
	}
}

// hurt takes the leader or the quorum from the engine, for a moment.
func (a *arena) hurt(quorum bool) {
	if !a.engine.TryLock() {
		return
	}
	defer a.engine.Unlock()
	if quorum {
		a.cluster.LoseQuorum(a.t)
		a.count.Quorums++
	} else {
		a.cluster.KillLeader(a.t)
		a.count.Leaders++
	}
	time.Sleep(time.Duration(500+a.draw(2500)) * time.Millisecond)
	a.cluster.Restore(a.t)
}

// points are where a process kills or stops itself.
var points = []string{"K2", "S0", "S1", "S2", "K4", "K5", "S3", "S4", "K7", "K11", "S5", "S6", "K14", "K15", "K16", "S7", "S8"}

// shoot starts a rotator, and lets something happen to it perhaps.
func (x *fighter) shoot(user string) {
	v := x.entry(user)
	var env []string
	dice := x.draw(100)
	stopped := time.Duration(0)
	switch {
	case dice < 8:
		env = append(env, "ARENA_KILL="+points[x.draw(len(points))])
	case dice < 13: // past its fence, and past what others wait for it
		env = append(env, "ARENA_STOP="+[]string{"S3", "S4", "K7"}[x.draw(3)])
		stopped = time.Duration(x.draw(12000)) * time.Millisecond
	case dice < 16: // just before the announcement, and between the answer and its storing
		env = append(env, "ARENA_STOP="+[]string{"S3", "K11"}[x.draw(2)])
		stopped = -1
	}
	x.mu.Lock()
	if time.Now().Before(x.cutUntil) {
		env = append(env, fmt.Sprint("ARENA_CUT=", x.r.IntN(6)))
		x.count.Cut++
	}
	x.mu.Unlock()
	cmd, s := x.process(user, v.Generation, env...)
	out, err := cmd.StdoutPipe()
	testenv.Must(x.t, err)
	testenv.Must(x.t, cmd.Start())
	x.mu.Lock()
	x.running[cmd] = s
	x.count.Rotations++
	x.mu.Unlock()
	done := make(chan struct{})
	if dice >= 16 && dice < 40 {
		go x.killSoon(cmd, s, time.Duration(x.draw(500))*time.Millisecond, done)
	}
	if stopped != 0 {
		go x.hold(cmd, s, stopped, done)
	}
	var report report
	reported := json.NewDecoder(out).Decode(&report) == nil
	// The rotator goes on until the others know, and nobody waits for that.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wait := func() {
		err := <-ended
		close(done)
		x.buried(cmd, s, err)
	}
	if reported && report.Error == nil {
		go wait()
	} else {
		wait()
	}
	if report.Error != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		switch report.Error.Code {
		case fault.WaitingForMachine:
			x.count.Waiting++
		case fault.EngineUnreachable:
			x.count.Unreachable++
		case fault.ProviderUnreachable: // on a slow machine its answer can come too late
			x.count.Unanswered++
			x.window[user]++
		case fault.Internal:
			x.t.Errorf("%s, %s: %s", x.name, user, report.Error.Message)
		}
	}
}

// process is a rotator in a process of its own.
func (x *fighter) process(user string, beyond int, env ...string) (*exec.Cmd, *shot) {
	exe, err := os.Executable()
	testenv.Must(x.t, err)
	s := &shot{user: user, phase: filepath.Join(x.t.TempDir(), "phase"), passing: x.passing}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), append(env, "AUTHFERRY_TEST_ROLE=rotator", "ARENA_DIR="+x.dir, "ARENA_HOST="+x.host, "ARENA_ID="+x.ids[user], "ARENA_BEYOND="+strconv.Itoa(beyond), "ARENA_PHASE="+s.phase)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, s
}

func (x *fighter) killSoon(cmd *exec.Cmd, s *shot, after time.Duration, done chan struct{}) {
	select {
	case <-done:
	case <-time.After(after):
		x.mu.Lock()
		defer x.mu.Unlock()
		s.killed = true
		_ = cmd.Process.Kill()
	}
}

// hold lets a process that has stopped itself go on after d, or, if d is negative, once the
// engine has lost its quorum.
func (x *fighter) hold(cmd *exec.Cmd, s *shot, d time.Duration, done chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if _, err := os.Stat(s.phase + ".stopped"); err == nil {
			break
		}
	}
	x.mu.Lock()
	x.count.Stopped++
	x.mu.Unlock()
	if d < 0 && x.engine.TryLock() {
		x.cluster.LoseQuorum(x.t)
		x.count.Quorums++
		go func() {
			defer x.engine.Unlock()
			time.Sleep(2 * time.Second)
			x.cluster.Restore(x.t)
		}()
	}
	if d >= 0 && x.draw(3) == 0 {
		x.rollBack()
	}
	select {
	case <-done:
	case <-time.After(max(d, 0)):
		_ = cmd.Process.Signal(syscall.SIGCONT)
	}
}

// buried counts a process that has ended.
func (x *fighter) buried(cmd *exec.Cmd, s *shot, err error) {
	phase, _ := os.ReadFile(s.phase)
	var exit *exec.ExitError
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.running, cmd)
	if !errors.As(err, &exit) || !status.Signaled() {
		return
	}
	x.count.Killed++
	_, stopped := os.Stat(s.phase + ".stopped")
	if stopped == nil && !s.killed && s.passing {
		x.count.Fenced++
	}
	// What a passing machine has stored and not published is lost if it isn't back in time.
	if string(phase) == "sent" || s.passing && string(phase) == "stored" {
		x.count.InWindow++
		x.window[s.user]++
	}
}

// settle ends all trouble, and has every machine get the newest token of every account.
func (a *arena) settle() {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		a.mu.Lock()
		n := len(a.running)
		for cmd := range a.running {
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
		a.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			a.t.Errorf("%d processes don't end", n)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.engine.Lock()
	a.cluster.Restore(a.t)
	a.engine.Unlock()
	revoked := a.revoked()
	for _, user := range a.users[:min(len(a.users), 20)] {
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
				for _, y := range a.all { // the machine that it waits for is back
					y.rotate(user)
				}
				if code == fault.WaitingForMachine {
					x.recover(user)
				}
			}
		}
	}
	a.t.Logf("logins lost before the end %d, after it %d", len(revoked), len(a.revoked()))
}

// rotate has the machine get a newer token, in a process that nothing happens to.
func (x *fighter) rotate(user string) fault.Code {
	return x.rotateBeyond(user, x.entry(user).Generation)
}

// rotateBeyond is rotate for a generation above another one.
func (x *fighter) rotateBeyond(user string, beyond int) fault.Code {
	cmd, _ := x.process(user, beyond, "ARENA_PERSON=1")
	out, _ := cmd.Output()
	var report report
	if json.Unmarshal(out, &report) != nil {
		return fault.Internal
	}
	return report.code()
}

// report is what a rotator prints.
type report struct {
	Error *struct {
		Code    fault.Code
		Message string
	}
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
func (a *arena) judge() {
	l := a.server.Ledger()
	reuse := map[string]int{}
	for _, r := range l.Reuse {
		reuse[r.User]++
	}
	lost := a.revoked()
	for _, user := range a.users {
		if reuse[user] > a.window[user] || lost[user] > a.window[user] {
			a.t.Errorf("%s: %d reuses, %d logins lost, and %d deaths in the window", user, reuse[user], lost[user], a.window[user])
		}
	}
	most := 0
	for _, n := range l.MaxInflight {
		most = max(most, n)
	}
	a.t.Logf("%s: %+v; %d token requests, %d reuses, %d logins lost, at most %d requests at once", time.Since(a.begun).Round(time.Second), a.count, l.TokenRequests, len(l.Reuse), len(lost), most)
	if l.TokenRequests == 0 {
		a.t.Error("nothing was rotated")
	}
}
