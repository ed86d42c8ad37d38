package main

import (
	"cmp"
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// completeCmd says how the last of the words can be completed. Its first line is "values",
// followed by one value a line, each with a tab and a description; or "files", which the
// shell completes itself. It reads the index and the list of providers, never the keychain.
type completeCmd struct{}

// candidate is a possible word.
type candidate struct{ word, help string }

func (c *completeCmd) Run(a *app) error {
	if len(a.child) == 0 {
		return nil
	}
	k, err := newParser(new(grammar), a.streams)
	if err != nil {
		return err
	}
	candidates, files := complete(a, k.Model.Node, a.child)
	if files {
		_, err = fmt.Fprintln(a.out, "files")
		return err
	}
	if _, err = fmt.Fprintln(a.out, "values"); err != nil {
		return err
	}
	for _, c := range candidates {
		if _, err = fmt.Fprintf(a.out, "%s\t%s\n", printable(c.word), printable(c.help)); err != nil {
			return err
		}
	}
	return nil
}

// complete walks through the words as the parser would.
func complete(a *app, at *kong.Node, words []string) (candidates []candidate, files bool) {
	words, current := rejoin(words)
	provider, position := "", 0
	var open *kong.Flag // the flag whose value comes next
	for _, word := range words {
		switch {
		case open != nil:
			open = nil
		case word == "--":
			return nil, true // the command that exec is to run
		case strings.HasPrefix(word, "-"):
			if flag := flagOf(at, word); flag != nil && !flag.IsBool() && !strings.Contains(word, "=") {
				open = flag
			}
		default:
			if child := childOf(at, word); child != nil {
				at, position = child, 0
				continue
			}
			if len(at.Children) > 0 {
				return nil, false // no such command
			}
			if position < len(at.Positional) && at.Positional[position].Name == "provider" {
				provider = word
			}
			if position >= len(at.Positional) || !at.Positional[position].IsCumulative() {
				position++
			}
		}
	}
	prefix := ""
	switch name, value, found := strings.Cut(current, "="); {
	case open != nil:
		candidates, files = valuesOf(a, open.Value, provider)
	case strings.HasPrefix(current, "-") && found:
		if flag := flagOf(at, name); flag != nil {
			candidates, files = valuesOf(a, flag.Value, provider)
			prefix, current = name+"=", value
		}
	case strings.HasPrefix(current, "-"):
		candidates = flagsOf(at)
	default:
		for _, child := range at.Children {
			if !child.Hidden {
				candidates = append(candidates, candidate{child.Name, child.Help})
			}
		}
		if position < len(at.Positional) {
			more, wantsFiles := valuesOf(a, at.Positional[position], provider)
			candidates, files = append(candidates, more...), wantsFiles
		}
	}
	candidates = slices.DeleteFunc(candidates, func(c candidate) bool {
		return len(c.word) < len(current) || !strings.EqualFold(c.word[:len(current)], current)
	})
	for i := range candidates {
		candidates[i].word = prefix + candidates[i].word
	}
	return candidates, files
}

// rejoin removes the word that is being written. Bash splits --flag=value into three words,
// and only wants the value back: it becomes --flag value.
func rejoin(words []string) (before []string, current string) {
	before, current = words[:len(words)-1], words[len(words)-1]
	if current == "=" {
		return before, ""
	}
	return slices.DeleteFunc(slices.Clone(before), func(w string) bool { return w == "=" }), current
}

func childOf(n *kong.Node, word string) *kong.Node {
	for _, child := range n.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return nil
}

func flagOf(n *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, group := range n.AllFlags(false) {
		for _, flag := range group {
			if name == "--"+flag.Name || flag.Short != 0 && name == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

func flagsOf(n *kong.Node) (candidates []candidate) {
	for _, group := range n.AllFlags(true) {
		for _, flag := range group {
			candidates = append(candidates, candidate{"--" + flag.Name, flag.Help})
		}
	}
	return candidates
}

// valuesOf decides by the grammar's name of the value.
func valuesOf(a *app, v *kong.Value, provider string) (candidates []candidate, files bool) {
	if v.Enum != "" {
		for word := range v.EnumMap() {
			if word != "" {
				candidates = append(candidates, candidate{word, ""})
			}
		}
		slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.word, b.word) })
		return candidates, false
	}
	switch v.Name {
	case "account", "renew":
		return accountNames(a, provider), false
	case "pool":
		return poolNames(a, provider), false
	case "provider", "from":
		return providerNames(a), false
	case "ca", "cert":
		return nil, true
	case "key":
		if v.Flag != nil { // the file of one
			return nil, true
		}
		for _, key := range folder.ConfigKeys() {
			candidates = append(candidates, candidate{key, ""})
		}
		return candidates, false
	case "client":
		for _, c := range setup.Clients() {
			candidates = append(candidates, candidate{c.Name, c.Title})
		}
		return candidates, false
	case "key-file", "dir", "path", "cmd":
		return nil, true
	}
	return nil, false
}

// accountNames are labels; if two providers have the same one, with the provider.
func accountNames(a *app, provider string) (candidates []candidate) {
	accounts, err := broker.List(a.folder)
	if err != nil {
		return nil
	}
	times := map[string]int{}
	for _, v := range accounts {
		times[strings.ToLower(v.Label)]++
	}
	for _, v := range accounts {
		word := v.Label
		if times[strings.ToLower(v.Label)] > 1 {
			word = v.Provider + "/" + v.Label
		}
		if provider == "" || provider == v.Provider {
			candidates = append(candidates, candidate{word, v.Provider + ", " + string(v.State)})
		}
	}
	return candidates
}

func poolNames(a *app, provider string) (candidates []candidate) {
	s, err := broker.Status(a.folder)
	if err != nil {
		return nil
	}
	for _, p := range s.Pools {
		if provider == "" || provider == p.Provider {
			candidates = append(candidates, candidate{p.Name, "pool of " + p.Provider})
		}
	}
	return candidates
}

func providerNames(a *app) (candidates []candidate) {
	providers, err := a.folder.Providers()
	if err != nil {
		return nil
	}
	for _, p := range providers.All() {
		candidates = append(candidates, candidate{p.Name, p.Issuer})
	}
	return candidates
}

// completionCmd prints a shell's completion script. The scripts themselves know nothing:
// they call the hidden command complete.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash, zsh, fish or powershell."`
}

//go:embed completion
var completions embed.FS

// Help is shown by --help.
func (c *completionCmd) Help() string {
	return "The examples are for this session; such a line in your shell's start-up file (for zsh after compinit) is for every one."
}

func (c *completionCmd) Run(a *app) error {
	ending := map[string]string{"powershell": "ps1"}[c.Shell]
	if ending == "" {
		ending = c.Shell
	}
	script, err := completions.ReadFile(path.Join("completion", "authferry."+ending))
	if err == nil {
		_, err = a.out.Write(script)
	}
	return err
}
