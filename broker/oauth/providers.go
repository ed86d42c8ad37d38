package oauth

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/rawtext"
)

//go:embed builtin.toml
var builtinTOML []byte

// The limits of a providers.toml are far above any real file, and quick to parse.
const (
	maxProviders    = 256 << 10
	maxProviderKeys = 4000
)

// Providers are the built-in providers and the user's own, which replace built-in ones of
// the same name. They are not safe for concurrent use.
type Providers struct {
	path    string
	builtin map[string]Provider
	own     map[string]Provider
	data    []byte // the user's file
}

// LoadProviders reads the user's file at path, which need not exist. If it is damaged, the
// error names the line.
func LoadProviders(path string) (*Providers, error) {
	ps := &Providers{path: path}
	var err error
	if ps.builtin, err = parseBuiltins(); err != nil {
		return nil, fmt.Errorf("the built-in providers: %w", err)
	}
	data, err := readProviders(path)
	if err != nil {
		return nil, err
	}
	if ps.own, err = parseProviders(data, SourceOwn); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ps.data = data
	return ps, nil
}

// parseBuiltins reads builtin.toml once.
var parseBuiltins = sync.OnceValues(func() (map[string]Provider, error) {
	return parseProviders(builtinTOML, SourceBuiltin)
})

// anyProvider is the table of builtin.toml that applies to every provider.
const anyProvider = "*"

var anywhere = sync.OnceValue(func() Provider {
	var f struct {
		Any Provider `toml:"*"`
	}
	_ = toml.Unmarshal(builtinTOML, &f) // a test proves that it can be parsed
	return f.Any
})

// final are the codes and messages that mean that e's refresh token is over for good: those
// stored in its grant, those of any server, and those of the built-in provider that has e's
// token endpoint, which may have been extended since the grant was made.
func (e Endpoint) final() []string {
	codes := slices.Concat(e.DeadCodes, anywhere().DeadCodes)
	builtin, _ := parseBuiltins()
	for _, p := range builtin {
		if p.TokenEndpoint != "" && p.TokenEndpoint == e.TokenEndpoint {
			codes = append(codes, p.DeadCodes...)
		}
	}
	return codes
}

func readProviders(path string) ([]byte, error) {
	data, err := atomicfile.Read(path, maxProviders)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if data, err = rawtext.UTF8(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// parseProviders parses a file with a table per provider.
func parseProviders(data []byte, source string) (map[string]Provider, error) {
	type table struct {
		Provider
		ClientSecret any `toml:"client_secret"`
	}
	if n := rawtext.Keys(data); n > maxProviderKeys {
		return nil, fmt.Errorf("it has %d keys and tables, and may have %d", n, maxProviderKeys)
	}
	var tables map[string]table
	// Unknown keys are not checked. A file that can't be parsed is refused: its other parts
	// would be lost when an entry changes.
	if err := cmp.Or(toml.Unmarshal(data, &tables), toml.Unmarshal(data, new(map[string]any))); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := at.Position()
			return nil, fmt.Errorf("line %d: %s", line, strings.TrimPrefix(at.Error(), "toml: "))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	}
	all := make(map[string]Provider, len(tables))
	for name, t := range tables {
		if name == anyProvider && source == SourceBuiltin {
			continue
		}
		t.Name, t.Source = name, source
		err := t.Validate()
		if t.ClientSecret != nil {
			err = fmt.Errorf("a client_secret does not belong in this file; the keystore keeps it (--client-secret-stdin)")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: provider %q: %w", lineOf(data, name), name, err)
		}
		all[name] = t.normal()
	}
	return all, nil
}

// Get returns the provider of that name, the user's own first.
func (ps *Providers) Get(name string) (Provider, bool) {
	if p, ok := ps.own[name]; ok {
		return p, true
	}
	p, ok := ps.builtin[name]
	return p, ok
}

// Remote returns the provider that is the remote MCP server at this address.
func (ps *Providers) Remote(address string) (Provider, bool) {
	for _, p := range ps.All() {
		if p.MCP != "" && Covers(p.MCP, address) && Covers(address, p.MCP) {
			return p, true
		}
	}
	return Provider{}, false
}

// Unknown returns, by provider, the keys in the user's file that this version doesn't know:
// misspelled ones, or those of a newer version. They are kept, and have no effect.
func (ps *Providers) Unknown() map[string][]string {
	var tables map[string]map[string]any
	if toml.Unmarshal(ps.data, &tables) != nil {
		return nil
	}
	unknown := map[string][]string{}
	for name, table := range tables {
		for key := range table {
			if !known(key) {
				unknown[name] = append(unknown[name], key)
			}
		}
		slices.Sort(unknown[name])
	}
	return unknown
}

// All returns every provider, sorted by name, without the built-in ones that are replaced.
func (ps *Providers) All() []Provider {
	var all []Provider
	for name, p := range ps.builtin {
		if _, ok := ps.own[name]; !ok {
			all = append(all, p)
		}
	}
	for _, p := range ps.own {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Provider) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Add writes p to the user's file, in place of one of the same name. The rest of the file
// stays as it is. Of p's old entry, the keys that this version doesn't know are kept, and
// comments are not.
func (ps *Providers) Add(p Provider) error {
	if err := p.Validate(); err != nil {
		return err
	}
	p = p.normal()
	return ps.rewrite(func(data []byte) ([]byte, error) {
		entry, err := newEntry(p, data)
		if err != nil {
			return nil, err
		}
		if data, _, err = cutEntry(data, p.Name); err != nil {
			return nil, err
		}
		if len(data) > 0 && data[len(data)-1] != '\n' {
			data = append(data, '\n')
		}
		if len(data) > 0 && !strings.HasSuffix(string(data), "\n\n") {
			data = append(data, '\n')
		}
		return append(data, entry...), nil
	})
}

// Remove removes one of the user's own providers from the file; a built-in one of that name
// is back then. Error: there is none of that name.
func (ps *Providers) Remove(name string) error {
	return ps.rewrite(func(data []byte) ([]byte, error) {
		data, found, err := cutEntry(data, name)
		if err == nil && !found {
			err = fmt.Errorf("%s has no provider %q", ps.path, name)
		}
		return data, err
	})
}

// rewrite changes the current file and replaces it in one step. A link is refused, because
// its target may belong to somebody else.
func (ps *Providers) rewrite(change func([]byte) ([]byte, error)) error {
	path := ps.path
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: it is not a regular file", path)
	}
	before, err := readProviders(path)
	if err != nil {
		return err
	}
	data, err := change(before)
	if err != nil {
		return err
	}
	own, err := parseProviders(data, SourceOwn)
	if err == nil && len(data) > maxProviders {
		err = fmt.Errorf("it would have more than %d bytes", maxProviders)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	still := func() error { // an editor takes no lock
		now, err := readProviders(path)
		if err == nil && !bytes.Equal(now, before) {
			err = fmt.Errorf("%s has changed meanwhile; run the command again", path)
		}
		return err
	}
	if err := atomicfile.Write(path, data, 0o600, still); err != nil {
		return err
	}
	ps.own, ps.data = own, data
	return nil
}
