package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/authferry/authferry/broker/index"
)

// setting is something that one command sets, and others must not lose.
type setting struct{ of, is string }

// changeSetting makes up a command that changes one.
func (m *model) changeSetting(all []index.Account) *step {
	set := func(of, is string, args ...string) *step { return &step{args: args, sets: setting{of, is}} }
	name, n := fmt.Sprintf("con%d", m.r.IntN(12)), strconv.Itoa(1+m.r.IntN(59))
	dir := filepath.Join(m.elsewhere, "dir"+strconv.Itoa(m.r.IntN(8)))
	switch m.r.IntN(8) {
	case 0:
		return set("config throttle_max", n+"s", "config", "set", "throttle_max", n+"s")
	case 1:
		strategy := []string{"sticky", "soonest-reset"}[m.r.IntN(2)]
		return set("config strategy", strategy, "config", "set", "strategy", strategy)
	case 2:
		key, value := []string{"failover", "terms_notice"}[m.r.IntN(2)], []string{"true", "false"}[m.r.IntN(2)]
		return set("config "+key, value, "config", "set", key, value)
	case 3, 4:
		return set("provider "+name, n, "provider", "add", name, "--client-id", n, "--api-origin", m.w.server.URL,
			"--authorization-endpoint", m.w.server.URL+"/authorize", "--token-endpoint", m.w.server.URL+"/token")
	case 5:
		return set("provider "+name, "", "provider", "remove", name)
	case 6:
		if err := os.MkdirAll(dir, 0o700); err != nil {
			m.w.t.Fatal(err)
		}
		if m.r.IntN(2) == 0 {
			return set("dir "+dir, bystander, "use", bystander, "--dir", dir)
		}
		return set("dir "+dir, "apart", "use", "--pool", "apart", "--dir", dir)
	default:
		return m.relabel(all[m.r.IntN(len(all))])
	}
}

func (m *model) relabel(a index.Account) *step {
	label := fmt.Sprintf("label %d", m.r.IntN(1000))
	return &step{args: []string{"rename", a.ID, label}, about: a.ID, sets: setting{"label " + a.ID, label}}
}

// settings are all that are set.
func (m *model) settings() map[string]string {
	set := map[string]string{}
	var config map[string]any
	m.parse("config.toml", &config)
	for key, value := range config {
		set["config "+key] = fmt.Sprint(value)
	}
	var providers map[string]struct {
		ClientID string `toml:"client_id"`
	}
	m.parse("providers.toml", &providers)
	for name, p := range providers {
		set["provider "+name] = p.ClientID
	}
	idx, err := m.w.index()
	if err != nil || idx == nil {
		return set // sound says so
	}
	for _, b := range idx.Bindings {
		set["dir "+b.Dir] = b.Pool
		if a := idx.Account(b.Account); a != nil {
			set["dir "+b.Dir] = a.Label
		}
	}
	for _, a := range idx.Accounts {
		set["label "+a.ID] = a.Label
	}
	return set
}

func (m *model) parse(name string, to any) {
	data, err := os.ReadFile(filepath.Join(m.w.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = toml.Unmarshal(data, to)
	}
	if err != nil {
		m.broken("%s: %v", name, err)
	}
}

// keptSettings holds what is set now to what was before the round and what its
// commands said that they had set.
func (m *model) keptSettings(struck blow, steps []*step) {
	before, now := m.set, m.settings()
	m.set = now
	if before == nil {
		return
	}
	done, perhaps, said := map[string][]string{}, map[string][]string{}, map[string]string{}
	for _, s := range steps {
		said[s.sets.of] += fmt.Sprintf("; %q: exit code %d", s.sets.is, s.result.code)
		switch of := s.sets.of; {
		case of == "":
		case s.result.code == 0:
			m.n.settings++
			done[of] = append(done[of], s.sets.is)
		case s.touched, struck.ofFolder(): // what is moved in the instant after the change is missed
			perhaps[of] = append(perhaps[of], s.sets.is)
		}
	}
	keys := slices.Collect(maps.Keys(before))
	for _, s := range steps {
		keys = append(keys, s.sets.of)
	}
	slices.Sort(keys)
	for _, of := range slices.Compact(keys) {
		_, is := now[of]
		if of == "" || strings.HasPrefix(of, "label ") && !is {
			continue // the account is gone
		}
		may := perhaps[of]
		if may = append(may, done[of]...); len(done[of]) == 0 {
			may = append(may, before[of])
		}
		if !slices.Contains(may, now[of]) {
			m.broken("I11: %s is %q, and not %q: a change was lost (before: %q%s)", of, now[of], may, before[of], said[of])
		}
	}
}
