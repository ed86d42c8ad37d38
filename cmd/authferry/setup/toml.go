package setup

import (
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"

	"github.com/authferry/authferry/rawtext"
)

// parseTOML reads a file for what stands there; changes are made to its lines.
func parseTOML(now []byte) (map[string]any, error) {
	var all map[string]any
	if rawtext.Keys(now) > maxTOMLKeys {
		return nil, refuse("it has more than %d keys; it was left as it is", maxTOMLKeys)
	}
	if err := toml.Unmarshal([]byte(textOf(now)), &all); err != nil {
		// Not in the parser's words, which quote what stands there: it may be a secret.
		where := ""
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := e.Position()
			where = fmt.Sprintf(": line %d, column %d", line, column)
		}
		return nil, refuse("it is not TOML%s; fix it first; it was left as it is", where)
	}
	return all, nil
}

// table returns the table along path, nil where there is none.
func table(all map[string]any, path ...string) map[string]any {
	for _, name := range path {
		all, _ = all[name].(map[string]any)
	}
	return all
}

// putTables adds tables at the end of a file of TOML. Path is where they begin; if
// somebody has that already, the file stays as it is.
func putTables(now []byte, name string, path []string, body []string) ([]byte, error) {
	rest, err := takeBlock(now, name)
	if err != nil {
		return nil, err
	}
	all, err := parseTOML(rest)
	if err != nil {
		return nil, err
	}
	if table(all, path...) != nil {
		return nil, refuse("it has a table [%s.%s] already that is not from authferry setup", path[0], path[1]).instead("take that table out of the file")
	}
	after, err := putBlock(now, name, body, len(textOf(now)))
	if err != nil {
		return nil, err
	}
	if _, err := parseTOML(after); err != nil {
		return nil, refuse("a table [%s.%s] can't be added at its end; it was left as it is", path[0], path[1])
	}
	return after, nil
}

// takeTables takes them out again.
func takeTables(now []byte, name string) ([]byte, error) {
	if _, err := parseTOML(now); err != nil {
		return nil, err
	}
	return takeBlock(now, name)
}
