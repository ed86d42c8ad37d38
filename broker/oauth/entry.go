package oauth

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// span is the part of a file that belongs to one provider.
type span struct{ from, to int }

// entries finds the spans of provider name: its tables, and dotted or inline keys before
// the first table. A span begins with a line and ends before the next expression, or before
// the comments above that.
func entries(data []byte, name string) ([]span, error) {
	// The parser measures by capacity.
	data = slices.Clip(data)
	var p unstable.Parser
	p.Reset(data)
	var found []span
	table, ours := "", false
	for p.NextExpression() {
		e := p.Expression()
		key := e.Key()
		key.Next()
		first := key.Node()
		owner := table
		if e.Kind != unstable.KeyValue {
			table = string(first.Data)
			owner = table
		} else if owner == "" {
			owner = string(first.Data)
		}
		from := lineStart(data, int(first.Raw.Offset))
		if ours {
			last := &found[len(found)-1]
			last.to = from
			if owner != name {
				last.to = aboveComments(data, *last)
			}
		}
		if owner == name && !ours {
			found = append(found, span{from, len(data)})
		}
		ours = owner == name
	}
	if p.Error() != nil {
		return nil, errors.New("it is not TOML")
	}
	if ours {
		last := &found[len(found)-1]
		last.to = aboveComments(data, span{last.from, len(data)})
	}
	return found, nil
}

func lineStart(data []byte, at int) int { return bytes.LastIndexByte(data[:at], '\n') + 1 }

// aboveComments returns the end of s without the comments and empty lines at its end, which
// belong to what follows.
func aboveComments(data []byte, s span) int {
	for s.to > s.from {
		start := lineStart(data, s.to-1)
		line := bytes.TrimSpace(data[start:s.to])
		if start <= s.from || len(line) > 0 && line[0] != '#' {
			break
		}
		s.to = start
	}
	return s.to
}

// cutEntry returns a copy of data without provider name, and whether it was in there.
func cutEntry(data []byte, name string) ([]byte, bool, error) {
	spans, err := entries(data, name)
	if err != nil {
		return nil, false, err
	}
	var kept []byte
	at := 0
	for _, s := range spans {
		kept = append(kept, data[at:s.from]...)
		at = s.to
	}
	return append(kept, data[at:]...), len(spans) > 0, nil
}

// newEntry is p as a table, with the keys of its table in data that Provider has no field
// for.
func newEntry(p Provider, data []byte) ([]byte, error) {
	entry, err := toml.Marshal(map[string]Provider{p.Name: p})
	if err != nil {
		return nil, err
	}
	var old, fresh map[string]map[string]any
	if err := toml.Unmarshal(data, &old); err != nil {
		return nil, err
	}
	unknown := maps.Clone(old[p.Name])
	maps.DeleteFunc(unknown, func(key string, _ any) bool { return known(key) })
	if len(unknown) == 0 {
		return entry, nil
	}
	if err := toml.Unmarshal(entry, &fresh); err != nil {
		return nil, err
	}
	maps.Copy(fresh[p.Name], unknown)
	return toml.Marshal(fresh)
}

// known reports whether key is one of a Provider's; the decoder ignores case.
func known(key string) bool {
	for f := range reflect.TypeFor[Provider]().Fields() {
		if strings.EqualFold(keyOf(f), key) {
			return true
		}
	}
	return false
}

// lineOf is the line on which provider name begins; 1 if unknown.
func lineOf(data []byte, name string) int {
	spans, err := entries(data, name)
	if err != nil || len(spans) == 0 {
		return 1
	}
	return bytes.Count(data[:spans[0].from], []byte("\n")) + 1
}
