package setup

import (
	"cmp"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// cargo: The Cargo Book, Registry Authentication. Registries whose index is at a chosen
// origin get a line below their header.
var cargo = Client{
	Name: "cargo", Title: "Cargo", Programs: []string{"cargo"}, Hosts: true, Joins: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		line := "credential-provider = " + quotedList(helper(m, c, "cargo"))
		return []File{{
			Path: cargoConfig(m), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				if len(c.Origins) == 0 {
					return nil, ErrNoHosts
				}
				rest, err := takeCargo(now, c.Origins)
				if err != nil {
					return nil, err
				}
				return putCargo(rest, c.Origins, line)
			},
			Take:    func(now []byte) ([]byte, error) { return takeCargo(now, c.Origins) },
			Current: func(now []byte) bool { return blockHas(now, "cargo", quoted(m.Binary)) },
		}}, nil
	},
}

func cargoConfig(m Machine) string {
	home := cmp.Or(m.Getenv("CARGO_HOME"), filepath.Join(m.Home, ".cargo"))
	if old := filepath.Join(home, "config"); exists(old) {
		return old // cargo prefers it to the other
	}
	return filepath.Join(home, "config.toml")
}

func putCargo(now []byte, origins []string, line string) ([]byte, error) {
	all, err := parseTOML(now)
	if err != nil {
		return nil, err
	}
	registries := table(all, "registries")
	put := 0
	for _, name := range slices.Sorted(maps.Keys(registries)) {
		registry := table(registries, name)
		index, _ := registry["index"].(string)
		if !at(index, origins) {
			continue
		}
		place := cargoHeader(name).FindStringIndex(textOf(now))
		switch {
		case registry["credential-provider"] != nil:
			return nil, refuse("registry %s has a credential-provider already", name).instead("take credential-provider out of [registries.%s]", name)
		case registry["token"] != nil || place == nil:
			return nil, refuse("registry %s is not written as a table of its own without a token", name).instead("write below [registries.%s]: %s", name, line)
		}
		now = addBlock(now, "cargo", "", []string{line}, place[1])
		put++
	}
	if put == 0 {
		return nil, refuse("no registry there has its index at %s", strings.Join(origins, " or ")).
			instead("write the registry there first ([registries.NAME], index = \"sparse+%s/…\"), or name the index's with --host URL", origins[0])
	}
	if _, err := parseTOML(now); err != nil {
		return nil, refuse("a line can't be added to its registries; it was left as it is").instead("write below each header: %s", line)
	}
	return now, nil
}

// at reports whether a registry's index is at one of the origins.
func at(index string, origins []string) bool {
	u, err := url.Parse(strings.TrimPrefix(index, "sparse+"))
	if err != nil || u.Host == "" {
		return false
	}
	return slices.ContainsFunc(origins, func(origin string) bool {
		o, err := url.Parse(origin)
		return err == nil && o.Scheme == u.Scheme && strings.EqualFold(o.Host, u.Host)
	})
}

// cargoHeader finds the header line of a registry's table.
func cargoHeader(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*\[[ \t]*registries[ \t]*\.[ \t]*["']?` + regexp.QuoteMeta(name) + `["']?[ \t]*\][^\n]*(\n|$)`)
}

// takeCargo removes the line of every registry, or of those whose index is at one of the
// origins.
func takeCargo(now []byte, origins []string) ([]byte, error) {
	all, err := parseTOML(now)
	if err != nil {
		return nil, err
	}
	if len(origins) > 0 {
		registries := table(all, "registries")
		for _, name := range slices.Sorted(maps.Keys(registries)) {
			index, _ := table(registries, name)["index"].(string)
			place := cargoHeader(name).FindStringIndex(textOf(now))
			if place == nil || !at(index, origins) {
				continue
			}
			r, err := findBlock(textOf(now)[place[1]:], "cargo")
			if err != nil {
				return nil, err
			}
			if r != nil && r.start == 0 {
				r.start, r.end = place[1], place[1]+r.end
				now = takeRegion(now, r)
			}
		}
		return now, nil
	}
	for {
		r, err := findBlock(textOf(now), "cargo")
		if err != nil || r == nil {
			return now, err
		}
		now = takeRegion(now, r)
	}
}
