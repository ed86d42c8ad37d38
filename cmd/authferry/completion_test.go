package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// completionTests are command lines whose last word is being written, and what may
// stand there. Quoting is the shells' affair.
var completionTests = []struct {
	words []string
	want  []string
}{
	{[]string{"lo"}, []string{"login"}},
	{[]string{"keystore", ""}, []string{"status", "init", "unlock", "lock", "migrate"}},
	{[]string{"keystore", "migrate", ""}, []string{"file", "keychain"}},
	{[]string{"token", "--acc"}, []string{"--account"}},
	{[]string{"token", "--account", ""}, []string{"other/Bob", "sim/Bob", "Ada's own"}},
	{[]string{"token", "--account", "ada"}, []string{"Ada's own"}},
	{[]string{"token", "sim", "-a", ""}, []string{"sim/Bob", "Ada's own"}},
	{[]string{"token", "--pool", ""}, []string{"other", "sim"}},
	{[]string{"rename", "sim/"}, []string{"sim/Bob"}},
	{[]string{"config", "set", "f"}, []string{"failover"}},
	{[]string{"login", "githu"}, []string{"github"}},
	{[]string{"setup", "terra"}, []string{"terraform"}},
	{[]string{"exec", "sim", "oth"}, []string{"other"}},
	{[]string{"rotat"}, nil},
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	s := completionScene(t)
	for _, c := range append(completionTests, []struct {
		words []string
		want  []string
	}{
		{[]string{"login", "--flow=p"}, []string{"--flow=paste"}},
		{[]string{"login", "--flow", "=", "p"}, []string{"paste"}}, // as bash splits it
		{[]string{"no", "such", "thing", ""}, nil},
	}...) {
		lines := strings.Split(s.Must("", append([]string{"complete", "--"}, c.words...)...).Out, "\n")
		if lines[0] != "values" {
			t.Errorf("%q: %q", c.words, lines[0])
		}
		var got []string
		for _, line := range lines[1:] {
			if word, _, _ := strings.Cut(line, "\t"); word != "" {
				got = append(got, word)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.words, got, c.want)
		}
	}
	for _, words := range [][]string{{"exec", "--", ""}, {"keystore", "init", "--key-file", ""}, {"use", "Ada", "--dir", "x"}} {
		if got := s.Must("", append([]string{"complete", "--"}, words...)...).Out; got != "files\n" {
			t.Errorf("%q: %q", words, got)
		}
	}
}

// completionScene has a label of two providers, and one that a shell has to quote.
func completionScene(t *testing.T) *scene {
	s := newScene(t, brokertest.Config{})
	for _, name := range []string{"sim", "other"} {
		s.Must("", "provider", "add", name, "--issuer", s.Server.URL, "--client-id", "authferry-sim")
		s.Must(s.Grant("bob", time.Hour), "import", "grant", name, "--label", "Bob")
	}
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada's own")
	return s
}

// A label is somebody else's word: within quotes that the person opened it must not
// become a command when the line is run.
func TestCompletionWithinQuotes(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash: apt-get install bash")
	}
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim")
	for user, label := range map[string]string{"ada": "x$(touch pwned)", "bob": "x'; touch pwned; '"} {
		s.Must(s.Grant(user, time.Hour), "import", "grant", "sim", "--label", label)
	}
	for quote, want := range map[string]string{"'": "x$(touch pwned)\nx'; touch pwned; '\n", `"`: "x'; touch pwned; '\n"} {
		cmd := exec.CommandContext(t.Context(), path, "--norc", "-c", `
compopt() { :; }
source <(authferry completion bash)
COMP_WORDS=(authferry info "$1") COMP_CWORD=2
_authferry
for w in "${COMPREPLY[@]}"; do eval "printf '%s\n' $1$w$1"; done`, "bash", quote)
		cmd.Env, cmd.Dir = append(s.Env, "PATH="+binFolder(s)+string(os.PathListSeparator)+os.Getenv("PATH")), s.Root
		out, err := cmd.CombinedOutput()
		if err != nil || !sameLines(string(out), want) {
			t.Errorf("within %s: %q, %v; want %q", quote, out, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Root, "pwned")); err == nil {
		t.Error("a label was run")
	}
}

// sameLines ignores their order.
func sameLines(a, b string) bool {
	return slices.Equal(slices.Sorted(strings.Lines(a)), slices.Sorted(strings.Lines(b)))
}

// binFolder is a folder with the program under its name.
func binFolder(s *scene) string {
	s.T.Helper()
	bin := filepath.Join(s.Root, "bin")
	testenv.Must(s.T, os.MkdirAll(bin, 0o700))
	if err := os.Symlink(s.Program, filepath.Join(bin, "authferry")); err != nil && !errors.Is(err, fs.ErrExist) {
		s.T.Skip("needs symbolic links: ", err)
	}
	return bin
}

// Each shell runs its script on each command line. What it would put there is
// read with the shell's own rules for quotes.
func TestCompletionInShells(t *testing.T) {
	t.Parallel()
	shells := map[string]struct {
		args []string // they come before the words
		get  string
	}{
		"bash": {[]string{"--norc", "-c"}, `
compopt() { :; }
source <(authferry completion bash)
COMP_WORDS=(authferry "$@") COMP_CWORD=$#
_authferry
for w in "${COMPREPLY[@]}"; do eval "printf '%s\n' $w"; done`},
		"zsh": {[]string{"-f", "-c"}, `
compdef() { }
_describe() { print -rl -- "${(@)${(P)@[-1]}%%:*}" }
source <(authferry completion zsh)
words=(authferry "${(@q)@}") CURRENT=$(( $# + 1 ))
_authferry`},
		"fish": {[]string{"--no-config", "-c"}, `
authferry completion fish | source
set -l line authferry (string escape -- $argv[1..-2]) (string escape --no-quoted -- $argv[-1])
complete -C (string join ' ' -- $line) | string split -f 1 \t`},
	}
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skip("needs " + name + ": apt-get install " + name)
			}
			s := completionScene(t)
			bin := binFolder(s)
			for _, c := range completionTests {
				args := append(slices.Clone(shell.args), shell.get)
				if name != "fish" {
					args = append(args, name)
				}
				cmd := exec.CommandContext(t.Context(), path, append(args, c.words...)...)
				cmd.Env = append(s.Env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
				out, _ := cmd.CombinedOutput() // some shells call it a failure that nothing fits
				got := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
				slices.Sort(got)
				if want := slices.Sorted(slices.Values(c.want)); !slices.Equal(got, want) {
					t.Errorf("%q: got %q, want %q", c.words, got, want)
				}
			}
		})
	}
}
