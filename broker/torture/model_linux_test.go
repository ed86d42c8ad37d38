package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// regime says what may happen in a world, and so what may come of it.
type regime struct {
	name     string
	rotation brokertest.Rotation
	rotators bool     // they are killed too, not only their callers
	faults   []string // of the refreshes
	loses    bool     // a login may be lost, in the one window
}

// Faults that spend nothing, or are noticed as such, and ones after which nobody
// knows.
var (
	unspent  = []string{"429-seconds", "503", "reset-accept", "invalid-client", "429-garbage", "gateway-502", "gateway-503", "gateway-504", "html"}
	unknown  = []string{"500", "502-after", "drop-after", "truncated", "empty-after", "reset-mid-body", "token-type-mac", "reset-request", "gateway-502-after", "gateway-503-after", "gateway-504-after", "html-after"}
	gateways = regexp.MustCompile("^(gateway|html)")
)

var regimes = []regime{
	{name: "strict server, callers die", rotation: brokertest.Strict, faults: unspent},
	{name: "server with grace, all die", rotation: brokertest.GraceNew, rotators: true, faults: slices.Concat(unspent, unknown)},
	{name: "strict server, all die", rotation: brokertest.Strict, rotators: true, faults: unspent, loses: true},
	{name: "server that names no refresh token", rotation: brokertest.OmitRefresh, rotators: true, faults: slices.Concat(unspent, unknown)},
}

// tally is what happened in all.
type tally struct {
	worlds, rounds, steps, kills, rotatorKills, stalls, faults, gateways, dialects, settings, rotations, reuses, lost, violations int

	blows map[blow]int
}

func (n tally) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d worlds, %d rounds, %d steps, %d kills (%d of rotators), %d stalls, ", n.worlds, n.rounds, n.steps, n.kills, n.rotatorKills, n.stalls)
	for _, b := range blows {
		fmt.Fprintf(&text, "%d times %s, ", n.blows[b], b)
	}
	return text.String() + fmt.Sprintf("%d faults (%d of gateways), %d dialects, %d settings changed, %d rotations, %d spent tokens sent again, %d logins lost, %d violations",
		n.faults, n.gateways, n.dialects, n.settings, n.rotations, n.reuses, n.lost, n.violations)
}

// model is one world under random commands, kills, stalls and faults.
type model struct {
	w *world
	regime
	r      *rand.Rand
	n      *tally
	seed   uint64
	number int
	round  int

	weather   []string // what goes wrong in this round, besides kills
	impatient bool     // it is the program that tests can outlast

	generations map[string]int    // the highest seen of each account
	gone        map[string]bool   // accounts whose login is lost
	set         map[string]string // settings, as they were after the last round
	people      int
	elsewhere   string // where other programs keep their files
	before      int    // violations in other worlds
	worries     int    // rotators killed and outcomes made unknown: each may cost one recovery
}

const bystander = "bystander"

// TestRandomSchedules runs everything at once, kills and stops it at random, lets
// the server fail, and holds the ledger and the folder to the invariants after
// each round. A seed repeats the schedule, not the timing of the processes.
func TestRandomSchedules(t *testing.T) {
	span, from := *duration, *seed
	if span == 0 {
		span = time.Duration(proofs.Size(2, 25)) * time.Second
	}
	if from == 0 {
		from = rand.Uint64N(1_000_000)
	}
	t.Logf("seed %d (again with -args -duration %v -seed %d)", from, span, from)
	n := tally{blows: map[blow]int{}}
	var keychain, keyring []string
	for end := time.Now().Add(span); time.Now().Before(end) && n.violations < 20; n.worlds++ {
		how := regimes[n.worlds%len(regimes)]
		keychain = nil
		if *duration > 0 && n.worlds/len(regimes)%3 == 2 {
			if keyring == nil {
				keyring = keystoretest.GnomeKeyring(t).Env
			}
			keychain = keyring
		}
		m := newModel(t, &n, how, keychain, from)
		rounds := 30
		if *duration == 0 {
			rounds = 10
		}
		for ; m.round < rounds && time.Now().Before(end) && n.violations == m.before; m.round++ {
			m.play()
		}
		m.end()
		if *duration > 0 && n.worlds%20 == 19 {
			fmt.Fprintf(os.Stderr, "%s %v\n", time.Now().Format(time.TimeOnly), n)
		}
	}
	t.Logf("seed %d: %v", from, n)
}

func newModel(t *testing.T, n *tally, how regime, keychain []string, from uint64) *model {
	cfg := brokertest.Config{Rotation: how.rotation, Grace: 24 * time.Hour, SignedIn: "ada@example.com"}
	home, err := os.MkdirTemp("", "af")
	testenv.Must(t, err)
	server, err := brokertest.Start(cfg)
	testenv.Must(t, err)
	bin, short := program(t), *duration > 0 && (n.worlds+n.worlds/len(regimes))%2 == 1
	if short {
		bin = impatient(t)
	}
	m := &model{w: openWorld(t, bin, home, server, keychain), regime: how, n: n, seed: from, number: n.worlds, impatient: short, elsewhere: home + ".files",
		r: rand.New(rand.NewPCG(from, uint64(n.worlds))), generations: map[string]int{}, gone: map[string]bool{}, before: n.violations} // #nosec G115 G404 -- a schedule that can be repeated
	m.w.add(bystander, 24*time.Hour)
	m.w.must("", "move", bystander, "--pool", "apart")
	if keychain != nil { // now and then everything is moved to sealed files, or back
		m.w.must("", "keystore", "init", "--key-file", filepath.Join(home, "key.txt"))
	}
	for range 3 {
		m.newcomer(time.Duration(m.r.IntN(2)*2-1) * time.Hour)
	}
	m.set = m.settings()
	return m
}

func (m *model) newcomer(ttl time.Duration) {
	m.people++
	m.w.add(fmt.Sprintf("p%d", m.people), ttl)
}

// broken reports a violation.
func (m *model) broken(format string, args ...any) {
	m.n.violations++
	m.w.t.Errorf("seed %d, world %d (%s), round %d (%s): %s", m.seed, m.number, m.name, m.round, strings.Join(m.weather, ", "), fmt.Sprintf(format, args...))
}

// step is one command under way.
type step struct {
	args    []string
	stdin   string
	login   bool
	moved   string // the refresh token that is in another program's file
	about   string // the account, where it is about one
	sets    setting
	dir     string // the folder, where it is at another place than the world's
	pid     int    // 0: not started yet
	result  result
	touched bool // killed, by us
}

// accounts are those that commands are about.
func (m *model) accounts() (all []index.Account) {
	idx, err := m.w.index()
	if err != nil {
		m.broken("I8: %v", err)
		return nil
	}
	for _, a := range idx.Accounts {
		if !a.Removing && a.Pool != "apart" {
			all = append(all, a)
		}
	}
	return all
}

// choose makes up a command.
func (m *model) choose(all []index.Account) *step {
	a := all[m.r.IntN(len(all))]
	on := func(args ...string) *step { return &step{args: args, about: a.ID} }
	switch d := m.r.IntN(132); {
	case d < 24:
		return on("token", "--account", a.ID)
	case d < 32:
		return &step{args: []string{"token", "sim"}}
	case d < 36:
		return &step{args: []string{"token", "--account", bystander}, about: bystander}
	case d < 58:
		return on("refresh", a.ID)
	case d < 62:
		return on("token", "--account", a.ID, "--rejected", fmt.Sprintf("%s.%d", a.ID, a.Generation))
	case d < 66:
		return &step{args: []string{[]string{"list", "status", "holds"}[m.r.IntN(3)]}}
	case d < 70:
		return m.relabel(a)
	case d < 76:
		s := on("report", "--next")
		s.stdin = fmt.Sprintf(`{"lease":"%s.%d","status":429,"headers":{"retry-after":"%d"}}`, a.ID, a.Generation, 1+m.r.IntN(3))
		return s
	case d < 79:
		return on("disable", a.ID)
	case d < 83:
		return on("enable", a.ID)
	case d < 85:
		return on("use", a.ID)
	case d < 87:
		return on("order", a.ID, strconv.Itoa(1+m.r.IntN(len(all))))
	case d < 90:
		m.people++
		user := fmt.Sprintf("p%d", m.people)
		return &step{args: []string{"import", "grant", "sim", "--label", user}, stdin: m.w.grant(user, time.Duration(m.r.IntN(2)*2-1)*time.Hour)}
	case d < 93:
		return m.login()
	case d < 96 && len(all) > 2:
		return on("remove", a.ID, "--yes")
	case d < 98:
		return &step{args: []string{"doctor"}}
	case d < 100:
		return &step{args: []string{"doctor", "--fix"}}
	case d < 103:
		return on("exec", "--account", a.ID, "--env", "T", "--", "printenv", "T")
	case d < 106:
		return on("header", "--account", a.ID)
	case d < 109:
		return on("helper", "api-key", "--account", a.ID)
	case d < 112:
		s := on("helper", "git", "--account", a.ID, "get")
		s.stdin = strings.Replace(m.w.server.URL, "http://", "protocol=http\nhost=", 1) + "\n"
		return s
	case d < 115:
		return on("move", a.ID, "--pool", []string{"sim", "other"}[m.r.IntN(2)])
	case d < 117:
		return on("info", a.ID)
	case d < 120:
		return on("holds", "clear", a.ID)
	case d < 124:
		return m.takeover()
	case d < 125:
		return &step{args: []string{"provider", "add", "sim", "--issuer", m.w.server.URL, "--client-id", "authferry-sim", "--api-origin", m.w.server.URL, "--env", "SIM_TOKEN"}}
	case d < 127:
		return m.changeSetting(all)
	case d < 129 && m.w.key == "":
		return &step{args: []string{"keystore", "migrate", []string{"file", "keychain"}[m.r.IntN(2)]}}
	default:
		s := m.login()
		for _, known := range all {
			if known.Identity == "ada@example.com" {
				s.args, s.about = append(s.args, "--renew", known.ID), known.ID
			}
		}
		return s
	}
}

func (m *model) login() *step {
	return &step{args: []string{"login", "sim", "--no-browser", "--timeout", "1m", "--json"}, login: true}
}

// takeover moves a login out of another program's file.
func (m *model) takeover() *step {
	m.people++
	g := m.w.server.Issue(fmt.Sprintf("p%d", m.people))
	path := filepath.Join(m.elsewhere, strconv.Itoa(m.people), "auth.json")
	text := fmt.Sprintf(`{"sim":{"type":"oauth","refresh":%q,"access":%q,"expires":%d}}`, g.RefreshToken, g.AccessToken, time.Now().Add(time.Hour).UnixMilli())
	testenv.Must(m.w.t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)))
	return &step{args: []string{"import", "opencode", path, "--move", "--json"}, moved: g.RefreshToken}
}

// want makes up a command that wants a token of an account, or a newer one.
func (m *model) want(a index.Account) *step {
	args := [][]string{{"token", "--account", a.ID}, {"refresh", a.ID}, {"token", "--account", a.ID, "--rejected", fmt.Sprintf("%s.%d", a.ID, a.Generation)}}
	return &step{args: args[m.r.IntN(len(args))], about: a.ID}
}

// play is one round: commands at once, chaos, silence, and the audit.
func (m *model) play() {
	m.n.rounds++
	all := m.accounts()
	for len(all) < 2 {
		m.newcomer(-time.Second)
		all = m.accounts()
	}
	if m.r.IntN(12) == 0 {
		m.relocate()
	}
	struck := m.chooseBlow()
	if m.weather = nil; struck != "" {
		m.weather = append(m.weather, string(struck))
	}
	steps := make([]*step, 1+m.r.IntN(7))
	crowd := all[m.r.IntN(len(all))] // half of the rounds are about one account
	crowded := m.r.IntN(2) == 0
	settings := m.r.IntN(8) == 0 // some are about settings
	for i := range steps {
		switch steps[i] = m.choose(all); {
		case struck.ofFolder() && m.r.IntN(6) == 0: // what can't make a folder
			steps[i] = m.relabel(crowd)
		case struck.ofFolder() || crowded && m.r.IntN(5) > 0:
			steps[i] = m.want(crowd)
		case settings:
			steps[i] = m.changeSetting(all)
		}
	}
	if (struck == away || struck == elsewhere) && m.r.IntN(5) == 0 {
		steps = []*step{m.login()} // alone: it may not have opened the folder while others are at the provider
	}
	m.spoil(struck, all, steps)
	requests := m.w.server.TokenRequests()
	if m.r.IntN(4) == 0 {
		m.w.allowRetry(m.w.t)
	}
	var work, done sync.WaitGroup
	patience := time.Minute
	if struck == frozen {
		patience = time.Second
	}
	start := func(s *step) {
		started := make(chan struct{})
		done.Go(func() {
			defer func() {
				if s.alive() == 0 {
					close(started)
				}
			}()
			cmd := m.w.command(s.args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Env = append(cmd.Env, "AUTHFERRY_LOCK_TIMEOUT="+patience.String(), "AUTHFERRY_HTTP_TIMEOUT="+patience.String())
			if s.dir != "" {
				cmd.Env = append(cmd.Env, "AUTHFERRY_DIR="+s.dir)
			}
			s.result = m.w.attempt(cmd, attempt{stdin: s.stdin, login: s.login, started: func(pid int) {
				chaos.Lock()
				s.pid = pid
				chaos.Unlock()
				close(started)
			}})
		})
		<-started
	}
	for _, s := range steps {
		start(s)
	}
	for range m.r.IntN(6) {
		wait, kind, which := time.Duration(m.r.IntN([]int{12, 40, 120}[m.r.IntN(3)]))*time.Millisecond, m.r.IntN(10), m.r.IntN(len(steps))
		pause := time.Duration(30+m.r.IntN(250)) * time.Millisecond
		aimed := m.r.IntN(2) == 0
		work.Go(func() {
			if aimed { // at a refresh under way
				for end := time.Now().Add(150 * time.Millisecond); len(m.rotating()) == 0 && time.Now().Before(end); {
					time.Sleep(3 * time.Millisecond)
				}
			}
			time.Sleep(wait)
			m.strike(steps[which], kind, pause)
		})
	}
	if struck != "" {
		steps = slices.Concat(steps, m.inflict(struck, requests, steps, func() *step { return m.want(crowd) }, start))
	}
	m.n.steps += len(steps)
	work.Wait()
	done.Wait()
	m.w.settle()
	if struck == restored { // whoever was at work in it is done
		_ = os.RemoveAll(m.w.dir + asideSuffix)
	}
	m.w.server.ClearFaults()
	m.audit(struck, all, steps)
}

var chaos sync.Mutex // guards the tally and touched

// alive is the pid of the step's process; 0 where there was none yet.
func (s *step) alive() int {
	chaos.Lock()
	defer chaos.Unlock()
	return s.pid
}

// strike kills or stops a process.
func (m *model) strike(s *step, kind int, pause time.Duration) {
	pid := s.alive()
	rotators := m.rotating()
	chaos.Lock()
	defer chaos.Unlock()
	switch {
	case kind < 3 && pid != 0: // the caller
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			s.touched = true
			m.n.kills++
		}
	case kind < 5 && pid != 0: // its whole group
		if syscall.Kill(-pid, syscall.SIGKILL) == nil {
			s.touched = true
			m.n.kills++
		}
	case kind < 8 && m.rotators && len(rotators) > 0:
		if syscall.Kill(rotators[0], syscall.SIGKILL) == nil {
			m.n.kills++
			m.n.rotatorKills++
			m.worries++
		}
	default:
		target := pid
		if len(rotators) > 0 {
			target = rotators[0]
		}
		if target != 0 && syscall.Kill(target, syscall.SIGSTOP) == nil {
			m.n.stalls++
			chaos.Unlock()
			time.Sleep(pause)
			_ = syscall.Kill(target, syscall.SIGCONT)
			chaos.Lock()
		}
	}
}

// rotating are the rotators at work in the folder.
func (m *model) rotating() (pids []int) {
	for _, pid := range m.w.running() {
		cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if argv := strings.Split(string(cmdline), "\x00"); err == nil && len(argv) > 1 && argv[1] == "rotate" {
			n, _ := strconv.Atoi(pid)
			pids = append(pids, n)
		}
		if strings.Contains(string(cmdline), "afat_") || strings.Contains(string(cmdline), "afrt_") {
			m.broken("I7: a token is in the arguments of process %s", pid)
		}
	}
	return pids
}

// change edits every account's entry, as time would.
func (m *model) change(f func(*index.Account)) {
	if err := index.At(m.w.dir).Update(m.w.t.Context(), index.Durable, func(idx *index.Index) error {
		for i := range idx.Accounts {
			f(&idx.Accounts[i])
		}
		return nil
	}); err != nil {
		m.broken("I8: %v", err)
	}
}

// allowRetry lets the back-off pass, and the pause between two refused tokens.
func (w *world) allowRetry(t testing.TB) {
	t.Helper()
	testenv.Check(t, index.At(w.dir).Update(t.Context(), index.Durable, func(idx *index.Index) error {
		for i := range idx.Accounts {
			a := &idx.Accounts[i]
			a.RejectedAt = time.Time{}
			if a.Failure != nil {
				a.Failure.NextTryAt = time.Now().Add(-time.Second)
			}
		}
		return nil
	}))
}
