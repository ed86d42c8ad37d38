package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// blow is what happens to the folder, its locks or its processes while a refresh
// is under way.
type blow string

const (
	away      blow = "folder moved away and back"
	elsewhere blow = "folder used at another path"
	restored  blow = "folder put back from a copy"
	emptied   blow = "locks emptied"
	unlocked  blow = "locks removed"
	frozen    blow = "frozen beyond patience"
	moved     blow = "folder moved for good" // between refreshes
)

func (b blow) ofFolder() bool { return b == away || b == elsewhere || b == restored }

var blows = []blow{away, elsewhere, restored, emptied, unlocked, frozen, moved}

// What an impatient program has instead of minutes.
const (
	waitsForProvider = 3 * time.Second
	waitsForStore    = 8 * time.Second
)

// impatient is the real program but for two constants, so that a test can outlast
// them: how long a rotator waits for the provider, and for a store.
func impatient(t *testing.T) string {
	t.Helper()
	return compiled(t, "impatient", func(dir string) []string {
		var overlay struct{ Replace map[string]string }
		overlay.Replace = map[string]string{}
		for _, c := range []struct {
			file, name string
			value      time.Duration
		}{{"oauth/client.go", "defaultTimeout", waitsForProvider}, {"folder/commit.go", "StorePatience", waitsForStore}} {
			source, err := filepath.Abs(filepath.Join("..", c.file))
			testenv.Must(t, err)
			text, err := os.ReadFile(source)
			testenv.Must(t, err)
			declared := regexp.MustCompile(`(?m)^(\s+` + c.name + `\s+= ).*$`)
			if n := len(declared.FindAll(text, -1)); n != 1 {
				t.Fatalf("%s is declared %d times in %s", c.name, n, source)
			}
			overlay.Replace[source] = filepath.Join(dir, c.name+".go")
			text = declared.ReplaceAll(text, fmt.Appendf(nil, "${1}time.Duration(%d)", c.value))
			testenv.Must(t, os.WriteFile(overlay.Replace[source], text, 0o600))
		}
		data, err := json.Marshal(overlay)
		path := filepath.Join(dir, "overlay.json")
		if err = errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		return []string{"-overlay", path}
	})
}

// chooseBlow says what strikes in this round; mostly nothing.
func (m *model) chooseBlow() blow {
	if m.r.IntN(3) > 0 {
		return ""
	}
	b := blows[m.r.IntN(len(blows)-1)]
	switch {
	case (b == frozen || b == restored) && !m.impatient:
		return away // what was cut off would wait for minutes
	case b == restored && !m.rotators:
		return elsewhere // two folders can't know of each other: it may cost a login
	}
	return b
}

// spoil chooses how the server answers in this round.
func (m *model) spoil(struck blow, all []index.Account, steps []*step) {
	if m.r.IntN(5) < 2 {
		name := m.faults[m.r.IntN(len(m.faults))]
		f := brokertest.Faults()[name]
		f.On, f.Times = brokertest.OnRefresh, 1+m.r.IntN(2)
		m.w.server.Inject(f)
		m.weather = append(m.weather, name)
		m.n.faults++
		if gateways.MatchString(name) {
			m.n.gateways++
		}
		if !slices.Contains(unspent, name) {
			m.worries += f.Times
		}
	}
	if m.r.IntN(3) == 0 {
		spelled := brokertest.Spelled()
		f := brokertest.Fault{Spoil: spelled[m.r.IntN(len(spelled))], Times: -1}
		known := slices.ContainsFunc(all, func(a index.Account) bool { return a.Identity == "ada@example.com" })
		if m.rotation == brokertest.OmitRefresh && known && !slices.ContainsFunc(steps, func(s *step) bool { return s.args[0] == "remove" }) {
			f.Drop = []string{"refresh_token"} // also at the next login
		}
		m.w.server.Inject(f)
		m.weather = append(m.weather, string(f.Spoil))
		m.n.dialects++
	}
	latency := time.Duration(m.r.IntN(150)) * time.Millisecond
	if struck != "" {
		latency += 100 * time.Millisecond
	}
	testenv.Must(m.w.t, m.w.server.Configure(func(c *brokertest.Config) { c.Latency = latency }))
}

// inflict strikes while a request is at the provider, of which there had been so many
// before, and returns what was started meanwhile.
func (m *model) inflict(b blow, requests int, steps []*step, want func() *step, start func(*step)) (more []*step) {
	ctx, cancel := context.WithTimeout(m.w.t.Context(), time.Second)
	defer cancel()
	_ = m.w.server.WaitFor(ctx, func(l brokertest.Ledger) bool { return l.TokenRequests > requests })
	time.Sleep(time.Duration(m.r.IntN(40)) * time.Millisecond)
	pause := time.Duration(20+m.r.IntN(400)) * time.Millisecond
	meanwhile := func(dir string) {
		for range 1 + m.r.IntN(3) {
			s := want()
			s.dir = dir
			more = append(more, s)
			start(s)
		}
		time.Sleep(pause)
	}
	chaos.Lock()
	m.n.blows[b]++
	chaos.Unlock()
	aside := m.w.dir + asideSuffix
	switch b {
	case away:
		m.rename(m.w.dir, aside)
		time.Sleep(pause)
		m.putBack(aside)
	case elsewhere:
		m.rename(m.w.dir, aside)
		meanwhile(aside)
		m.putBack(aside)
	case restored:
		fresh := m.w.dir + ".copy"
		if out, err := exec.Command("cp", "-a", m.w.dir, fresh).CombinedOutput(); err != nil {
			m.w.t.Logf("cp: %s", out) // a file was renamed meanwhile
		}
		m.rename(m.w.dir, aside)
		m.rename(fresh, m.w.dir)
		meanwhile("")
		m.worries += 2 * len(m.accounts())
		clear(m.generations)
		m.set = nil
	case emptied:
		files, _ := filepath.Glob(filepath.Join(m.w.dir, "locks", "*"))
		for _, path := range files {
			_ = os.Remove(path)
		}
		meanwhile("")
	case unlocked:
		if err := os.RemoveAll(filepath.Join(m.w.dir, "locks")); err != nil {
			m.w.t.Logf("%v", err) // one was made meanwhile
		}
		meanwhile("")
	case frozen:
		target := steps[m.r.IntN(len(steps))].alive()
		if rotators := m.rotating(); len(rotators) > 0 && m.r.IntN(4) > 0 {
			target = rotators[0]
		}
		if target == 0 || syscall.Kill(target, syscall.SIGSTOP) != nil {
			break
		}
		time.Sleep(waitsForProvider + pause)
		_ = syscall.Kill(target, syscall.SIGCONT)
	}
	return more
}

// relocate moves the folder for good.
func (m *model) relocate() {
	from := m.w.dir
	m.w.dir = filepath.Join(m.w.home, "af"+strconv.Itoa(m.round))
	m.rename(from, m.w.dir)
	m.w.env = append(m.w.env, "AUTHFERRY_DIR="+m.w.dir)
	m.n.blows[moved]++
}

// asideSuffix is what is added to the folder's path where it is for a while.
const asideSuffix = ".aside"

func (m *model) rename(from, to string) {
	testenv.Must(m.w.t, os.Rename(from, to))
}

// putBack puts the folder back. Nothing may have made another one in its place.
func (m *model) putBack(from string) {
	if _, err := os.Lstat(m.w.dir); err == nil {
		found, _ := filepath.Glob(filepath.Join(m.w.dir, "*"))
		inLocks, _ := filepath.Glob(filepath.Join(m.w.dir, "locks", "*"))
		m.broken("the folder was made anew while it was away: %v", append(found, inLocks...))
		_ = os.RemoveAll(m.w.dir)
	}
	m.rename(from, m.w.dir)
}
