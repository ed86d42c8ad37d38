package setup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/authferry/authferry/cmd/authferry/opencode"
)

// ErrMap is a Choice.Map that can't be.
var ErrMap = errors.New("--map wants OpenCode's provider id, =, and a provider of authferry provider list")

// shared are the providers that have the same name in OpenCode and here. GitHub's
// is not among them: OpenCode's github-copilot wants tokens that only its own
// login yields.
var shared = []string{"anthropic", "google", "openai"}

// openCode is set up by one file of authferry's own, which OpenCode finds by itself:
// nothing that is the user's changes.
var openCode = Client{
	Name: "opencode", Title: "OpenCode", Programs: []string{"opencode"}, Providers: true, Logins: true,
	Next: func(_ Machine, c Choice) []string {
		if c.Server.Name != "" {
			return restarting("OpenCode")(Machine{}, c)
		}
		return []string{"restart OpenCode: it reads its plugins when it starts"}
	},
	// opencode.json, mcp.NAME.
	Remote: func(m Machine, c Choice) (File, error) {
		return serverEntry(m, c, openCodeConfig(m), []string{"mcp"}, []field{{"type", "local"}, {"command", bridge(m, c)}}, "environment"), nil
	},
	Files: func(m Machine, c Choice) ([]File, error) {
		p := plugin{m.Binary, c}
		if err := p.check(); err != nil {
			return nil, err
		}
		return []File{{Path: pluginPath(m), Mode: 0o644, Put: p.put, Take: p.take, Current: p.current}}, nil
	},
}

// pluginPath is the same on every system: OpenCode follows the XDG rules on all.
func pluginPath(m Machine) string {
	config := m.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(m.Home, ".config")
	}
	return filepath.Join(config, "opencode", "plugin", "authferry.js")
}

type plugin struct {
	binary string
	choice Choice
}

// check refuses names that could not be a provider's, there or here.
func (p plugin) check() error {
	odd := func(name string) bool {
		return strings.HasPrefix(name, "-") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\`, r) })
	}
	for client, provider := range p.choice.Map {
		if client == "" || odd(client) || odd(provider) {
			return fmt.Errorf("%w: %q to %q", ErrMap, client, provider)
		}
	}
	return nil
}

// providers are the ones in the file, or the shared ones, with what was chosen now.
func (p plugin) providers(file []byte) (map[string]opencode.Selection, error) {
	s, _ := opencode.Read(file)
	all := maps.Clone(s.Providers)
	if len(all) == 0 {
		all = map[string]opencode.Selection{}
		for _, name := range shared {
			all[name] = opencode.Selection{Provider: name}
		}
	}
	for client, provider := range p.choice.Map {
		all[client] = opencode.Selection{Provider: provider}
		if provider == "" {
			delete(all, client)
		}
	}
	if p.choice.Provider == "" {
		return all, nil
	}
	chosen := opencode.Selection{Provider: p.choice.Provider, Pool: p.choice.Pool, Account: p.choice.Account}
	served := slices.DeleteFunc(slices.Collect(maps.Keys(all)), func(client string) bool { return all[client].Provider != chosen.Provider })
	switch {
	case len(served) == 0:
		return nil, &UnmappedError{chosen.Provider}
	case chosen.Pool == "" && chosen.Account == "":
		clear(all) // that provider alone is meant
	}
	for _, client := range served {
		all[client] = chosen
	}
	return all, nil
}

func (p plugin) put(now []byte) ([]byte, error) {
	if _, ours := opencode.Read(now); now != nil && !ours {
		return nil, errors.New("another plugin has this name; move it away first")
	}
	providers, err := p.providers(now)
	if err != nil {
		return nil, err
	}
	return opencode.Plugin(opencode.Settings{Binary: p.binary, Providers: providers})
}

func (plugin) take(now []byte) ([]byte, error) {
	if _, ours := opencode.Read(now); ours {
		return nil, nil
	}
	return now, nil
}

// current compares with what would be written for the same providers.
func (p plugin) current(now []byte) bool {
	s, _ := opencode.Read(now)
	as, err := opencode.Plugin(opencode.Settings{Binary: p.binary, Providers: s.Providers})
	return err == nil && bytes.Equal(now, as)
}

// UnmappedError is for a provider that no provider of OpenCode is known to be.
type UnmappedError struct{ Provider string }

func (e *UnmappedError) Error() string {
	return fmt.Sprintf("which provider of OpenCode is %q? name its id in opencode.json", e.Provider)
}
