package setup

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A remote MCP server is reached in one of two ways: the client asks authferry's helper
// for the headers of each connection, or it starts authferry's bridge, which is a server
// on stdio to it. The helper is for clients that ask it again after a 401, and send what
// it printed nowhere else; the bridge is for all others.

// Server is a remote MCP server that a client is set up for.
type Server struct {
	Name    string // the provider's; empty: none
	Address string // empty: the client has it already, and it is to be taken out
}

// Entry is a remote MCP server as a client's file has it.
type Entry struct {
	Name  string   // the client's, for the server
	Words []string // authferry's command line
	Dir   string   // AUTHFERRY_DIR, if the entry sets that
}

// folderVariable says in an entry's environment whose folder it is for.
const folderVariable = "AUTHFERRY_DIR"

// entryOf is the entry with that command line, as a shell has it. Variables may stand
// before authferry.
func entryOf(name, line string, env map[string]string) Entry {
	e := Entry{Name: name, Words: wordsOf(line), Dir: env[folderVariable]}
	for len(e.Words) > 0 && !isOurs(e.Words[0]) {
		if dir, ok := strings.CutPrefix(e.Words[0], folderVariable+"="); ok {
			e.Dir = dir
		}
		e.Words = e.Words[1:]
	}
	return e
}

// entryName is what clients call the server. Some take no other characters.
func (s Server) entryName() string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s.Name)
}

// headersHelper is what a client is to call for the server's headers.
func headersHelper(m Machine, c Choice) []string {
	return append(helper(m, c, "mcp-headers"), c.Server.Address)
}

// takesHeaders reports whether the installed version of a client is one that can be left
// to ask for headers itself.
func takesHeaders(m Machine, program, least string) bool {
	path, err := m.LookPath(program)
	return err == nil && m.Version != nil && since(m.Version(path), least)
}

// bridge is what a client is to start in the place of the server.
func bridge(m Machine, c Choice) []string {
	return append(append([]string{m.Binary, "mcp", "connect"}, c.selection()...), c.Server.Address)
}

// callsBridge reports whether words start the bridge.
func callsBridge(words []string) bool {
	return len(words) > 2 && isOurs(words[0]) && words[1] == "mcp" && words[2] == "connect"
}

// field is a member of an entry in a file of JSON.
type field struct {
	name  string
	value any
}

// serverEntry is a file of JSON in which the member that is called after the server, in
// the object at in, says how it is reached: by fields, and in the environment at env,
// which may be empty. Of an entry that is there already, authferry's own ways to reach one
// are replaced, and the rest may be somebody's.
func serverEntry(m Machine, c Choice, path string, in []string, fields []field, env string) File {
	at := append(slices.Clone(in), c.Server.entryName())
	name := strings.Join(at, ".")
	isThere := func(now []byte) (entry map[string]json.RawMessage, ours bool, err error) {
		if now == nil {
			return nil, false, nil
		}
		d, err := parseJSON(now)
		if err != nil {
			return nil, false, err
		}
		if _, err := d.decode(at, &entry); err != nil {
			return nil, false, err
		}
		return entry, reaches(m, entry) != "", nil
	}
	return File{
		Path: path, Mode: 0o600,
		Private: func(now []byte) []string { return othersIn(now, at, ways...) },
		Put: func(now []byte) ([]byte, error) {
			entry, ours, err := isThere(now)
			switch {
			case err != nil:
				return nil, err
			case entry == nil:
				all := slices.Clone(ordered(fields))
				if len(c.Env) > 0 && env != "" {
					var vars ordered
					for _, assignment := range c.Env {
						variable, value, _ := strings.Cut(assignment, "=")
						vars = append(vars, field{variable, value})
					}
					all = append(all, field{env, vars})
				}
				return setJSON(now, at, all)
			case !ours:
				return nil, refuse("%s is there already, and not from authferry setup", name).instead("take %s out of that file", name)
			}
			for _, f := range slices.Backward(fields) {
				if now, err = setJSON(now, append(slices.Clone(at), f.name), f.value); err != nil {
					return nil, err
				}
			}
			for _, assignment := range c.Env {
				variable, value, _ := strings.Cut(assignment, "=")
				if now, err = setJSON(now, append(slices.Clone(at), env, variable), value); err != nil {
					return nil, err
				}
			}
			for _, way := range slices.Sorted(maps.Keys(entry)) {
				if slices.Contains(ways, way) && !slices.ContainsFunc(fields, func(f field) bool { return f.name == way }) {
					if now, err = dropJSON(now, append(slices.Clone(at), way)); err != nil {
						return nil, err
					}
				}
			}
			return now, nil
		},
		Take: func(now []byte) ([]byte, error) {
			_, ours, err := isThere(now)
			if err != nil || !ours {
				return now, err
			}
			return dropJSON(now, at)
		},
		Servers: func(now []byte) (entries []Entry) {
			d, err := parseJSON(now)
			if err != nil {
				return nil
			}
			var all map[string]json.RawMessage
			_, _ = d.decode(in, &all) // of another kind: it has none
			for _, name := range slices.Sorted(maps.Keys(all)) {
				var entry map[string]json.RawMessage
				if json.Unmarshal(all[name], &entry) != nil || reaches(m, entry) == "" {
					continue
				}
				var vars map[string]string
				_ = json.Unmarshal(entry[env], &vars) // others are nobody's
				entries = append(entries, entryOf(name, reaches(m, entry), vars))
			}
			return entries
		},
		Current: func(now []byte) bool {
			entry, _, err := isThere(now)
			return err == nil && strings.HasPrefix(reaches(m, entry), shellLine(m, []string{m.Binary})+" ")
		},
	}
}

// ways are the members that say how a server is reached.
var ways = []string{"type", "url", "headersHelper", "command", "args"}

// reaches is authferry's command line in an entry; empty: it has none.
func reaches(m Machine, entry map[string]json.RawMessage) string {
	var line, program string
	if json.Unmarshal(entry["headersHelper"], &line) == nil && callsUs(line, "mcp-headers") {
		return line
	}
	var words, args []string
	if json.Unmarshal(entry["command"], &words) != nil && json.Unmarshal(entry["command"], &program) == nil {
		_ = json.Unmarshal(entry["args"], &args) // none are nobody's
		words = append([]string{program}, args...)
	}
	if !callsBridge(words) {
		return ""
	}
	return shellLine(m, words)
}

// ordered is an object with its members in this order.
type ordered []field

// MarshalJSON writes them one after the other.
func (o ordered) MarshalJSON() ([]byte, error) {
	members := make([]string, len(o))
	for i, f := range o {
		members[i] = compact(f.name) + ":" + compact(f.value)
	}
	return []byte("{" + strings.Join(members, ",") + "}"), nil
}

// since reports that a program's own words about its version name this one or a later.
func since(said, least string) bool {
	numbers := pattern(`[0-9]+(?:\.[0-9]+)+`)().FindString(said)
	have, want := strings.Split(numbers, "."), strings.Split(least, ".")
	for i := range want {
		var part string
		if i < len(have) {
			part = have[i]
		}
		a, _ := strconv.Atoi(part) // none is older than all
		b, _ := strconv.Atoi(want[i])
		if n := cmp.Compare(a, b); n != 0 {
			return n > 0
		}
	}
	return true
}
