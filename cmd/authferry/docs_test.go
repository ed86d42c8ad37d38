package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"

	"github.com/authferry/authferry/testenv"
)

// Every authferry command line in the documents is one that authferry takes.
func TestDocumentedCommands(t *testing.T) {
	count := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		testenv.Must(t, err)
		for _, script := range scripts(string(text)) {
			for _, args := range commandLines(t, file, script) {
				count++
				if complaint := refusesPart(args); complaint != "" {
					t.Errorf("%s: authferry %s: %s", filepath.Base(file), strings.Join(args, " "), complaint)
				}
			}
		}
	}
	if count < 40 {
		t.Errorf("found only %d command lines: are the documents read as they should be?", count)
	}
}

var (
	block  = regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)^```")
	inline = regexp.MustCompile("`(authferry [^`]*)`")
	// What stands for something, or is a choice, is no command line: ACCOUNT is.
	notation = regexp.MustCompile(`[\[\]…|<>]|\.\.\.`)
)

// scripts are the shell scripts in a document: its blocks, in which a console's
// answers are left out, and the command lines in its text.
func scripts(text string) (all []string) {
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		script := m[2]
		if m[1] == "console" {
			script = ""
			goesOn := false
			for line := range strings.Lines(m[2]) {
				command, typed := strings.CutPrefix(line, "$ ")
				if typed || goesOn {
					script += command
					goesOn = strings.HasSuffix(command, "\\\n") || strings.HasSuffix(command, "|\n")
				}
			}
		}
		all = append(all, script)
	}
	for _, m := range inline.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		if !notation.MatchString(m[1]) {
			all = append(all, strings.Join(strings.Fields(m[1]), " "))
		}
	}
	return all
}

// commandLines returns the arguments of each call of authferry in the script.
func commandLines(t *testing.T, file, script string) (all [][]string) {
	f, err := syntax.NewParser().Parse(strings.NewReader(script), filepath.Base(file))
	if err != nil {
		t.Errorf("%s: %v in\n%s", file, err, script)
		return nil
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, w := range call.Args {
			words = append(words, literal(w))
		}
		if i := slices.Index(words, "authferry"); i == 0 || i == 1 && words[0] == "sudo" {
			all = append(all, words[i+1:])
		}
		return true
	})
	return all
}

// literal is the word as the program gets it, with X for what only a shell knows.
func literal(w *syntax.Word) string {
	var b strings.Builder
	var parts func([]syntax.WordPart)
	parts = func(ps []syntax.WordPart) {
		for _, part := range ps {
			switch part := part.(type) {
			case *syntax.Lit:
				b.WriteString(strings.ReplaceAll(part.Value, `\`, ""))
			case *syntax.SglQuoted:
				b.WriteString(part.Value)
			case *syntax.DblQuoted:
				parts(part.Parts)
			default:
				b.WriteString("X")
			}
		}
	}
	parts(w.Parts)
	return b.String()
}

// Whoever has an error's code finds it in the documents.
func TestDocumentedErrorCodes(t *testing.T) {
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	testenv.Must(t, err)
	for code, exit := range exitCodes {
		row := regexp.MustCompile("(?m)^\\| `" + string(code) + "` \\| ([0-9, ]+) \\|").FindStringSubmatch(string(text))
		if row == nil {
			t.Errorf("docs/troubleshooting.md has no row for %s", code)
		} else if first, _, _ := strings.Cut(row[1], ","); strings.TrimSpace(first) != strconv.Itoa(exit) {
			t.Errorf("docs/troubleshooting.md: %s has exit code %s, it is %d", code, row[1], exit)
		}
	}
}

// The table of exit codes is the program's.
func TestDocumentedExitCodes(t *testing.T) {
	text, err := os.ReadFile("../../docs/scripting.md")
	testenv.Must(t, err)
	var table strings.Builder
	table.WriteString("| exit code | means |\n| --- | --- |\n")
	for _, s := range sections() {
		if s.title == "EXIT STATUS" {
			for _, row := range s.rows {
				table.WriteString("| " + row[0] + " | " + row[1] + " |\n")
			}
		}
	}
	if !strings.Contains(string(text), table.String()+"\n") {
		t.Errorf("docs/scripting.md needs this table:\n%s", table.String())
	}
}

// A link to another document leads there.
func TestDocumentedLinks(t *testing.T) {
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		testenv.Must(t, err)
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	testenv.Must(t, err)
	return append(files, "../../README.md", "../../SECURITY.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md")
}
