package main

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/testenv"
)

// commands are all that a person is told of.
func commands(t *testing.T) (all []*kong.Node) {
	t.Helper()
	k, err := newParser(new(grammar), streams{out: io.Discard, err: io.Discard})
	testenv.Must(t, err)
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		all = append(all, n)
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child)
			}
		}
	}
	walk(k.Model.Node)
	return all
}

// Every command has examples, they are of that command, and the grammar takes
// them as they stand.
func TestExamples(t *testing.T) {
	for _, n := range commands(t) {
		name := commandName(n)
		lines := examplesOf(name)
		if lines == nil {
			t.Errorf("authferry %s --help has no example", name)
			continue
		}
		own := false
		for _, args := range commandLines(t, name, strings.Join(lines, "\n")) {
			if complaint := refuses(args); complaint != "" {
				t.Errorf("authferry %s: %s", strings.Join(args, " "), complaint)
			}
			own = own || strings.HasPrefix(strings.Join(args, " ")+" ", strings.TrimPrefix(name+" ", " "))
		}
		if !own {
			t.Errorf("the examples of authferry %s are of other commands", name)
		}
	}
}

// No help is wider than the terminal, of 60 columns and of more.
func TestHelpFits(t *testing.T) {
	var help bytes.Buffer
	k, err := newParser(new(grammar), streams{out: &help, err: io.Discard})
	testenv.Must(t, err)
	for _, columns := range []int{60, 80, 200} {
		t.Setenv("COLUMNS", strconv.Itoa(columns))
		for _, n := range commands(t) {
			help.Reset()
			args := append(strings.Fields(commandName(n)), "--help")
			func() {
				defer func() {
					if _, ok := recover().(exit); !ok {
						t.Errorf("%v is not help", args)
					}
				}()
				_, _ = k.Parse(args)
			}()
			for line := range strings.Lines(help.String()) {
				line = strings.TrimSuffix(line, "\n")
				usage := strings.HasPrefix(line, "Usage: ") // kong's, in one line
				if size := cells(line); size > columns && !usage {
					t.Errorf("%v at %d columns: %d in %q", args, columns, size, line)
				}
			}
			if !strings.Contains(help.String(), "\nExamples:\n  ") {
				t.Errorf("%v shows no example", args)
			}
		}
	}
}

// The list of all commands has each of them in a group, and no other.
func TestCommandGroups(t *testing.T) {
	for _, n := range commands(t)[1:] {
		if n.Parent.Type == kong.ApplicationNode && n.Group == nil {
			t.Errorf("%s is in no group", n.Name)
		}
	}
	var help bytes.Buffer
	func() {
		defer func() { _ = recover() }()
		_, _, _ = parse([]string{"--help"}, streams{out: &help, err: io.Discard})
	}()
	var titles []string
	for line := range strings.Lines(help.String()) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, ":") {
			titles = append(titles, line)
		}
	}
	if want := []string{"Accounts:", "Tokens:", "More than one account:", "Other programs:", "Authferry itself:", "Flags:", "Examples:"}; !slices.Equal(titles, want) {
		t.Errorf("%q, want %q", titles, want)
	}
}

// The manual has each command in one heading, and is short enough to be read.
func TestManual(t *testing.T) {
	var page bytes.Buffer
	testenv.Must(t, new(manCmd).Run(&app{streams: streams{out: &page, err: io.Discard}}))
	if lines := bytes.Count(page.Bytes(), []byte("\n")); lines > 700 {
		t.Errorf("the manual has %d lines", lines)
	}
	headings := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\.CM "\\fB(.*?)(?: \(\w+\))?\\fR`).FindAllStringSubmatch(page.String(), -1) {
		siblings := strings.Split(strings.ReplaceAll(m[1], `\-`, "-"), "|")
		headings[siblings[0]]++
		group := siblings[0][:strings.LastIndex(siblings[0], " ")+1]
		for _, name := range siblings[1:] {
			headings[group+name]++
		}
	}
	for _, n := range commands(t)[1:] {
		if len(n.Children) == 0 && headings[commandName(n)] != 1 {
			t.Errorf("authferry %s is in %d headings", commandName(n), headings[commandName(n)])
		}
	}
}
