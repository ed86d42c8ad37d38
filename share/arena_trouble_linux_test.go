package share_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/share/sharetest"
	"github.com/authferry/authferry/testenv"
)

// What happens to machines and to the engine, by the name that it is counted under. D, H and
// T are the times of the protocol.
const (
	killed       = "killed at any moment"
	killedAt     = "killed at a point of the protocol"
	fenced       = "killed by the fence, stopped between announcement and send"
	stoppedClaim = "stopped with a claim, for longer than one is respected"
	stoppedD     = "stopped before the send, for longer than D"
	stoppedH     = "stopped at any moment, for longer than H"
	stoppedT     = "stopped after the announcement, for longer than T"
	leaderKilled = "engine lost its leader"
	quorumLost   = "engine lost its quorum"
	quorumBefore = "engine lost its quorum just before an announcement"
	quorumAfter  = "engine lost its quorum between an answer and its storing"
	fromBackup   = "engine restored from a backup"
	callsFail    = "calls of the engine fail, from some call on"
	partitioned  = "machine cut off from the engine"
	silenced     = "machine gets no answer of the engine"
	rolledBack   = "index rolled back between announcement and send"
	cloned       = "machine cloned between announcement and send, both go on"
	otherClock   = "token got by a machine whose clock is hours ahead"
	setForAll    = "label or order set on all machines"
	recovered    = "account freed by a person (share recover)"
)

// troubles are all of them, with how long a fight has to be for each to happen.
var troubles = []struct {
	name   string
	within time.Duration
}{
	{killed, 30 * time.Second}, {killedAt, 30 * time.Second}, {fenced, 3 * time.Minute},
	{stoppedClaim, 3 * time.Minute}, {stoppedD, 3 * time.Minute}, {stoppedH, 3 * time.Minute}, {stoppedT, 3 * time.Minute},
	{leaderKilled, 2 * time.Minute}, {quorumLost, 2 * time.Minute}, {quorumBefore, 3 * time.Minute}, {quorumAfter, 3 * time.Minute}, {fromBackup, 90 * time.Second},
	{callsFail, time.Minute}, {partitioned, time.Minute}, {silenced, time.Minute},
	{rolledBack, 3 * time.Minute}, {cloned, 3 * time.Minute}, {otherClock, 30 * time.Second}, {setForAll, time.Minute}, {recovered, 10 * time.Minute},
}

// What came of it.
const (
	diedInside    = "deaths in the window"
	stoppedInside = "stopped in the window, on a passing machine, for longer than T"
	unanswered    = "requests without an answer"
	untold        = "answers that a passing machine could not tell"
	waits         = "waited for another machine"
	outOfReach    = "could not reach the engine"
	restored      = "refused, since the engine was restored"
)

var outcomes = []string{diedInside, stoppedInside, unanswered, untold, waits, outOfReach, restored}

// trouble begins all that happens to machines and to the engine, but for what happens to
// single processes.
func (a *arena) trouble(ctx context.Context, all *sync.WaitGroup, d time.Duration) {
	every := func(from, to time.Duration, do func()) {
		all.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(a.between(from, to)):
					do()
				}
			}
		})
	}
	every(4*time.Second, 10*time.Second, func() { a.hurt(a.draw(2) == 0) })
	if a.redis != nil {
		return
	}
	for _, x := range a.all {
		for i := range a.cluster.Endpoints() {
			x.taps = append(x.taps, a.cluster.Tap(a.t, i))
		}
	}
	every(time.Second, 2*time.Second, a.keepIndexes)
	every(3*time.Second, 6*time.Second, func() {
		x := a.machines()[a.draw(len(a.machines()))]
		a.mu.Lock()
		defer a.mu.Unlock()
		x.cutUntil = time.Now().Add(2 * time.Second)
	})
	every(3*time.Second, 8*time.Second, a.partition)
	every(2*time.Second, 3*time.Second, a.freeStuck)
	every(time.Second, 3*time.Second, a.set)
	pause := max(45*time.Second, d/8)
	every(pause, pause+time.Second, a.restoreWhileFighting)
}

// hurt takes the leader or the quorum from the engine, for a moment.
func (a *arena) hurt(quorum bool) {
	if !a.engine.TryLock() {
		return
	}
	defer a.engine.Unlock()
	switch {
	case a.redis != nil:
		a.redis.Kill()
		a.happened(leaderKilled)
	case quorum:
		a.cluster.LoseQuorum(a.t)
		a.happened(quorumLost)
	default:
		a.cluster.KillLeader(a.t)
		a.happened(leaderKilled)
	}
	time.Sleep(a.between(500*time.Millisecond, 3*time.Second))
	a.heal()
}

// hurtNow takes the quorum from the engine and comes back; it gets it again some time later.
func (a *arena) hurtNow(name string) {
	if !a.engine.TryLock() {
		return
	}
	if a.redis != nil {
		a.redis.Kill()
	} else {
		a.cluster.LoseQuorum(a.t)
	}
	a.happened(name)
	go func() {
		defer a.engine.Unlock()
		time.Sleep(2 * time.Second)
		a.heal()
	}()
}

func (a *arena) heal() {
	if a.redis != nil {
		testenv.Check(a.t, a.redis.Start())
		return
	}
	a.cluster.Restore(a.t)
}

// partition cuts a machine off, or lets it speak and hear nothing.
func (a *arena) partition() {
	a.lines.Lock()
	defer a.lines.Unlock()
	all := a.machines()
	x := all[a.draw(len(all))]
	a.mu.Lock()
	silent := a.count[silenced] <= a.count[partitioned]
	a.mu.Unlock()
	before := x.processes()
	for _, tap := range x.taps {
		if silent {
			tap.Lose(sharetest.Vanish)
		} else {
			tap.Cut(true)
		}
	}
	time.Sleep(a.between(2*time.Second, 6*time.Second))
	for _, tap := range x.taps {
		tap.Lose(sharetest.Arrive)
		tap.Cut(silent) // what got no answer has to be connected anew
		tap.Cut(false)
	}
	switch {
	case x.processes() == before: // nobody noticed
	case silent:
		a.happened(silenced)
	default:
		a.happened(partitioned)
	}
}

func (x *fighter) processes() int {
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	return x.started
}

// keepIndexes keeps backups of all indexes.
func (a *arena) keepIndexes() {
	for _, x := range a.machines() {
		if backup, err := os.ReadFile(filepath.Join(x.dir, "index.json")); err == nil {
			a.mu.Lock()
			x.backups = append(x.backups, backup)
			if len(x.backups) > 4 {
				x.backups = x.backups[1:]
			}
			a.mu.Unlock()
		}
	}
}

// rollBack puts an old index in the place of the machine's, as from a backup.
func (x *fighter) rollBack() bool {
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	if len(x.backups) == 0 {
		return false
	}
	path := filepath.Join(x.dir, "index.json")
	backup := x.backups[0]
	x.backups = nil
	return os.WriteFile(path+".old", backup, 0o600) == nil && os.Rename(path+".old", path) == nil
}

// cloneable reports whether the machine may be copied: it is no copy and has none, and there
// are fewer than two.
func (x *fighter) cloneable() bool {
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	return !x.copied && x.arena.clones < 2
}

// clone makes another machine of a copy of this one's disk, with all that it was about to
// do, and has it go on as well.
func (x *fighter) clone(ctx context.Context, all *sync.WaitGroup) {
	x.arena.mu.Lock()
	if x.copied || x.arena.clones >= 2 {
		x.arena.mu.Unlock()
		return
	}
	x.arena.clones++
	x.copied = true
	x.arena.mu.Unlock()
	c := &fighter{arena: x.arena, copied: true, name: x.name + "-copy", host: x.host + "-copy", passing: x.passing, clock: x.clock, dir: filepath.Join(x.arena.t.TempDir(), "authferry")}
	for try := 0; ; try++ { // files come and go meanwhile
		if os.RemoveAll(c.dir) == nil && os.CopyFS(c.dir, os.DirFS(x.dir)) == nil {
			break
		}
		if try == 50 {
			x.arena.t.Error("it can't be copied")
			return
		}
	}
	_ = os.RemoveAll(filepath.Join(c.dir, "locks")) // which another machine doesn't have
	testenv.Check(x.arena.t, c.folder().Update(x.arena.t.Context(), index.Durable, func(idx *index.Index) (err error) {
		idx.Path, err = index.RealPath(c.dir) // there its path would be the same
		return err
	}))
	for i := range x.arena.cluster.Endpoints() {
		c.taps = append(c.taps, x.arena.cluster.Tap(x.arena.t, i))
	}
	x.arena.mu.Lock()
	x.arena.all = append(x.arena.all, c)
	x.arena.count[cloned]++
	x.arena.mu.Unlock()
	if ctx.Err() == nil {
		c.work(ctx, all)
	}
}

// set has a person change an account's label or its place, for all machines, while it is
// refreshed.
func (a *arena) set() {
	x, user := a.machines()[a.draw(len(a.machines()))], a.target()
	if user == "" {
		return
	}
	args := []string{"first", x.arena.ids[user]}
	if a.draw(4) > 0 {
		args = []string{"rename", x.arena.ids[user], fmt.Sprintf("%s %d", user, a.draw(1000))}
	}
	var done report
	if out, err := x.role("person", nil, args...).Output(); err == nil && json.Unmarshal(out, &done) == nil && done.Error == nil {
		a.happened(setForAll)
	}
}

// freeStuck has a person take care of accounts that have waited for a machine for long.
func (a *arena) freeStuck() {
	var user string
	a.mu.Lock()
	for u, since := range a.stuck {
		if time.Since(since) > 20*time.Second {
			user = u
			a.resting[u] = true
			delete(a.stuck, u)
			break
		}
	}
	a.mu.Unlock()
	if user == "" {
		return
	}
	a.lines.Lock()
	defer a.lines.Unlock()
	a.engine.Lock()
	defer a.engine.Unlock()
	if a.ended(user, 30*time.Second) {
		a.care(user)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.resting, user)
}

// care lets every machine publish what it has of an account, and then has a person say that
// nobody else is waited for: no process works on it any more.
func (a *arena) care(user string) {
	for _, x := range a.machines() {
		if x.rotate(user) != fault.WaitingForMachine {
			continue
		}
		for _, y := range a.machines() {
			if y.rotate(user) == "" {
				break
			}
		}
		if x.rotate(user) != fault.WaitingForMachine {
			continue
		}
		var done report
		if out, err := x.role("person", nil, "recover", x.arena.ids[user]).Output(); err == nil && json.Unmarshal(out, &done) == nil && done.Recovered {
			x.arena.mu.Lock()
			x.arena.count[recovered]++
			x.note(user, recovered)
			x.arena.mu.Unlock()
		}
	}
}

// confirm has a person on each machine put back what an engine has lost that was restored,
// and confirm its state.
func (a *arena) confirm() {
	for range 2 {
		for _, x := range a.machines() {
			var done report
			out, err := x.role("person", nil, "confirm").Output()
			testenv.Check(a.t, err)
			if json.Unmarshal(out, &done) != nil || done.Error != nil {
				a.t.Errorf("%s can't confirm the engine's state: %s", x.name, out)
			}
		}
	}
}

// restoreWhileFighting has the engine forget some seconds while everybody works on. Nothing
// is confirmed before all processes have ended.
func (a *arena) restoreWhileFighting() {
	a.lines.Lock()
	defer a.lines.Unlock()
	a.engine.Lock()
	backup := a.cluster.Backup(a.t)
	a.engine.Unlock()
	time.Sleep(a.between(3*time.Second, 8*time.Second))
	a.engine.Lock()
	defer a.engine.Unlock()
	a.cluster.RestoreBackup(a.t, backup, false) // as docs/shared-pools.md says
	a.happened(fromBackup)
	time.Sleep(3 * time.Second)
	a.paused.Store(true)
	defer a.paused.Store(false)
	if !a.ended("", time.Minute) {
		a.t.Error("there are processes that don't end")
	}
	a.mu.Lock()
	for _, x := range a.all {
		x.backups = nil // those of before aren't put back any more
	}
	a.mu.Unlock()
	a.confirm()
}

// restoreBackup has the engine forget everything since a while, when all is quiet. Nothing
// is sent until a person has had every machine put back what it knows, and nothing is lost.
func (a *arena) restoreBackup() {
	backup := a.cluster.Backup(a.t)
	user := a.target()
	if user == "" {
		return
	}
	for range 2 { // each machine sees something that the backup doesn't have
		for _, x := range a.all {
			for try := 0; x.rotate(user) != ""; try++ {
				if try == 20 {
					a.t.Errorf("%s gets no token", x.name)
					return
				}
			}
		}
	}
	before := a.server.Ledger()
	a.cluster.RestoreBackup(a.t, backup, a.draw(2) == 0)
	for _, x := range a.all {
		if code := x.rotate(user); code != fault.EngineRestored {
			a.t.Errorf("%s refreshes on an engine from a backup: %q", x.name, code)
		}
	}
	if l := a.server.Ledger(); sends(l) != sends(before) {
		a.t.Errorf("%d refresh tokens were sent before a person had confirmed the engine's state", sends(l)-sends(before))
	}
	a.confirm()
	a.settle()
	if l := a.server.Ledger(); len(l.Reuse) > len(before.Reuse) {
		a.t.Errorf("%d reuses after the engine was restored", len(l.Reuse)-len(before.Reuse))
	}
}
