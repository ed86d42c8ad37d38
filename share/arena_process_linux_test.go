package share_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
)

// shot is one process of a machine.
type shot struct {
	user, phase string
	passing     bool

	killed bool // from outside
	freed  bool
	inside bool // it is counted in the window
}

// free lets a process go on that is stopped. The arena's lock is held.
func (s *shot) free(cmd *exec.Cmd) {
	s.freed = true
	_ = cmd.Process.Signal(syscall.SIGCONT)
}

// is reports whether the process has noted something of itself.
func (s *shot) is(what string) bool {
	_, err := os.Stat(s.phase + "." + what)
	return err == nil
}

// reached is how far it is: "", "sent", "stored" or "published".
func (s *shot) reached() string {
	phase, _ := os.ReadFile(s.phase)
	return string(phase)
}

// points are where a process kills itself.
var points = []string{"K2", "S0", "S1", "S2", "K4", "K5", "S3", "S4", "K7", "K11", "S5", "S6", "K14", "K15", "K16", "S7", "S8"}

// ambush is what is to happen to a process.
type ambush struct {
	name   string
	at     []string      // it stops itself at one of these points; none: it is stopped at any moment
	held   time.Duration // for how long
	also   func()        // what happens meanwhile
	killed bool          // then, in place of going on
}

// ambush is one of those that happened least so far.
func (x *fighter) ambush(ctx context.Context, all *sync.WaitGroup) ambush {
	announced := []string{"S4", "K7"}
	stops := []ambush{
		{name: stoppedClaim, at: []string{"S2"}, held: x.arena.between(4*time.Second, 6*time.Second)},
		{name: stoppedD, at: []string{"S3", "S4", "K7"}, held: x.arena.between(4*time.Second, 6*time.Second)},
		{name: stoppedH, held: x.arena.between(9*time.Second, 11*time.Second)},
		{name: stoppedT, at: []string{"S4", "K7", "K11"}, held: x.arena.between(17*time.Second, 20*time.Second)},
		{name: quorumBefore, at: []string{"S3"}, also: func() { x.arena.hurtNow(quorumBefore) }},
		{name: quorumAfter, at: []string{"K11"}, also: func() { x.arena.hurtNow(quorumAfter) }},
	}
	if x.arena.redis == nil {
		kill := x.arena.draw(2) == 0
		stops = append(stops, ambush{name: rolledBack, at: announced, held: 300 * time.Millisecond, killed: kill, also: func() {
			if x.rollBack() {
				x.arena.happened(rolledBack)
			}
		}})
	}
	if x.arena.redis == nil && x.cloneable() {
		stops = append(stops, ambush{name: cloned, at: announced, held: time.Second, also: func() { x.clone(ctx, all) }})
	}
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	x.arena.r.Shuffle(len(stops), func(i, j int) { stops[i], stops[j] = stops[j], stops[i] })
	return slices.MinFunc(stops, func(a, b ambush) int { return x.arena.count[a.name] - x.arena.count[b.name] })
}

// shoot starts a rotator, and lets something happen to it perhaps.
func (x *fighter) shoot(ctx context.Context, all *sync.WaitGroup, user string) {
	beyond := 0
	if x.arena.redis == nil {
		beyond = x.entry(user).Generation
	}
	var env []string
	var plan *ambush
	dice := x.arena.draw(100)
	switch {
	case dice < 15:
		env = append(env, "ARENA_KILL="+points[x.arena.draw(len(points))])
	case dice < 40:
		a := x.ambush(ctx, all)
		plan = &a
		if len(a.at) > 0 {
			env = append(env, "ARENA_STOP="+a.at[x.arena.draw(len(a.at))])
		}
	}
	x.arena.mu.Lock()
	if time.Now().Before(x.cutUntil) {
		env = append(env, fmt.Sprint("ARENA_CUT=", x.arena.r.IntN(6)))
		x.arena.count[callsFail]++
	}
	x.arena.mu.Unlock()
	cmd, s := x.process(user, beyond, env...)
	out, err := cmd.StdoutPipe()
	testenv.Must(x.arena.t, err)
	x.arena.mu.Lock()
	if x.arena.paused.Load() || x.arena.resting[user] {
		x.arena.mu.Unlock()
		return
	}
	err = cmd.Start()
	x.arena.running[cmd] = s
	x.arena.shots++
	x.started++
	x.arena.mu.Unlock()
	testenv.Must(x.arena.t, err)
	done := make(chan struct{})
	switch {
	case plan != nil:
		go x.carryOut(cmd, s, plan, done)
	case dice >= 40 && dice < 65:
		go x.killSoon(cmd, s, x.arena.between(0, 500*time.Millisecond), done)
	}
	var report report
	reported := json.NewDecoder(out).Decode(&report) == nil
	// The rotator goes on until the others know, and nobody waits for that.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wait := func() {
		err := <-ended
		close(done)
		x.buried(cmd, s, err, env)
	}
	if reported {
		x.reported(s, &report)
	}
	if reported && report.Error == nil {
		go wait()
	} else {
		wait()
	}
}

// reported counts what came of a process.
func (x *fighter) reported(s *shot, report *report) {
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	code := report.code()
	if code != "" {
		x.note(s.user, fmt.Sprintf("reported %s: %s", code, report.Error.Message))
	}
	if code == fault.WaitingForMachine {
		if x.arena.stuck[s.user].IsZero() {
			x.arena.stuck[s.user] = time.Now()
		}
		x.arena.count[waits]++
		return
	}
	if s.is("again") || code == fault.ProviderUnreachable && s.reached() == "sent" { // on a slow machine an answer can come too late
		x.within(s, unanswered)
	}
	switch code {
	case "":
		delete(x.arena.stuck, s.user)
		if x.clock != 0 {
			x.arena.count[otherClock]++
		}
	case fault.EngineUnreachable:
		x.arena.count[outOfReach]++
		if x.passing && s.reached() == "sent" { // what it was answered; after T another machine asks again
			x.within(s, untold)
		}
	case fault.EngineRestored:
		x.arena.count[restored]++
	case fault.LoginNeeded, fault.LockTimeout, fault.ProviderUnreachable:
	case fault.Internal:
		x.arena.t.Errorf("%s, %s: %s", x.name, s.user, report.Error.Message)
	default:
		x.arena.t.Logf("%s, %s: %s: %s", x.name, s.user, code, report.Error.Message)
	}
}

// within counts a process once in the window.
func (x *fighter) within(s *shot, why string) {
	if !s.inside {
		s.inside = true
		x.arena.window[s.user]++
		x.arena.count[why]++
		x.note(s.user, why)
	}
}

// diary is where is written what happened to an account on this machine.
func (x *fighter) diary(user string) string {
	return filepath.Join(x.arena.dir, x.name+"-"+user)
}

func (x *fighter) note(user, what string) {
	f, err := os.OpenFile(x.diary(user), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, _ = fmt.Fprintf(f, "  %s %s\n", time.Now().Format("15:04:05.000"), what)
		_ = f.Close()
	}
}

// process is a rotator in a process of its own.
func (x *fighter) process(user string, beyond int, env ...string) (*exec.Cmd, *shot) {
	x.arena.mu.Lock()
	x.arena.count["processes"]++
	s := &shot{user: user, phase: filepath.Join(x.arena.dir, fmt.Sprint("phase", x.arena.count["processes"])), passing: x.passing}
	x.arena.mu.Unlock()
	if x.arena.redis != nil {
		return x.role("locker", append(env, "ARENA_REDIS="+x.arena.redis.Socket(), "ARENA_PROVIDER="+x.arena.server.URL+"/token", "ARENA_ID="+user, "ARENA_PHASE="+s.phase)), s
	}
	return x.role("rotator", append(env, "ARENA_ID="+x.arena.ids[user], "ARENA_BEYOND="+strconv.Itoa(beyond), "ARENA_PHASE="+s.phase)), s
}

// role is a process on this machine.
func (x *fighter) role(name string, env []string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	testenv.Must(x.arena.t, err)
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), append(env, "AUTHFERRY_TEST_ROLE="+name, "ARENA_DIR="+x.dir, "ARENA_HOST="+x.host, "ARENA_CLOCK="+x.clock.String(), "ARENA_ENDPOINTS="+strings.Join(x.endpoints(), ","))...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (x *fighter) endpoints() (all []string) {
	for _, tap := range x.taps {
		all = append(all, tap.Endpoint())
	}
	if len(all) == 0 && x.arena.cluster != nil {
		return x.arena.cluster.Endpoints()
	}
	return all
}

func (x *fighter) killSoon(cmd *exec.Cmd, s *shot, after time.Duration, done chan struct{}) {
	select {
	case <-done:
	case <-time.After(after):
		x.arena.mu.Lock()
		defer x.arena.mu.Unlock()
		s.killed = true
		_ = cmd.Process.Kill()
	}
}

// carryOut carries out an ambush.
func (x *fighter) carryOut(cmd *exec.Cmd, s *shot, plan *ambush, done chan struct{}) {
	if len(plan.at) == 0 {
		select {
		case <-done:
			return
		case <-time.After(x.arena.between(50*time.Millisecond, 500*time.Millisecond)):
			_ = cmd.Process.Signal(syscall.SIGSTOP)
		}
	}
	for len(plan.at) > 0 && !s.is("stopped") {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	begun, at := time.Now(), s.reached()
	if plan.also != nil {
		plan.also()
	}
	select {
	case <-done:
	case <-time.After(plan.held):
	}
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	lasted := time.Since(begun)
	x.note(s.user, fmt.Sprintf("stopped for %s: %s, %q", lasted.Round(time.Millisecond), plan.name, at))
	select {
	case <-done: // killed meanwhile, by its fence
		return
	default:
	}
	switch {
	case plan.also == nil && lasted >= plan.held && !s.freed:
		x.arena.count[plan.name]++
	case plan.killed:
		s.killed = true
		_ = cmd.Process.Kill()
	}
	// A passing machine has to be back within T of its announcement.
	if now := s.reached(); x.passing && lasted > 6*time.Second && (at == "sent" || at == "stored" || now == "sent" || now == "stored") {
		x.within(s, stoppedInside)
	}
	s.free(cmd)
}

// buried counts a process that has ended.
func (x *fighter) buried(cmd *exec.Cmd, s *shot, err error, env []string) {
	var exit *exec.ExitError
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	x.arena.mu.Lock()
	defer x.arena.mu.Unlock()
	delete(x.arena.running, cmd)
	phase := s.reached()
	if s.is("again") {
		x.within(s, unanswered)
	}
	if !errors.As(err, &exit) || !status.Signaled() {
		x.note(s.user, fmt.Sprintf("ended, %q, %v %v", phase, env, err))
		return
	}
	how := killed
	switch {
	case s.is("killed"):
		how = killedAt
	case !s.killed:
		how = fenced
	}
	x.arena.count[how]++
	x.note(s.user, fmt.Sprintf("%s, %q, %v", how, phase, env))
	// What a passing machine has stored and not published is lost if it isn't back in time.
	if phase == "sent" || s.passing && phase == "stored" {
		x.within(s, diedInside)
	}
}
