package setup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// git: gitcredentials(7). The empty helper before ours is git's way to say "no other helper
// for this host": otherwise git would tell all helpers about a token that worked, and one
// of them could store it in a file.
var git = Client{
	Name: "git", Title: "Git", Programs: []string{"git"}, Hosts: true, Joins: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: gitConfig(m), Mode: 0o644,
			Put:     func(now []byte) ([]byte, error) { return putGit(m, c, now) },
			Take:    func(now []byte) ([]byte, error) { return takeGit(now, c.Origins) },
			Current: func(now []byte) bool { return blockHas(now, "git", gitQuote(gitHelper(m, Choice{}))) },
		}}, nil
	},
}

// putGit gives the hosts of c their helper. Hosts that authferry serves already stay.
func putGit(m Machine, c Choice, now []byte) ([]byte, error) {
	if len(c.Origins) == 0 {
		return nil, ErrNoHosts
	}
	rest, err := takeBlock(now, "git")
	if err != nil {
		return nil, err
	}
	sections, err := gitSections(now)
	if err != nil {
		return nil, err
	}
	line := gitHelper(m, c)
	for _, origin := range c.Origins {
		if err := gitAllows(m, rest, origin); err != nil {
			return nil, err
		}
		section := []string{gitHeader(origin), "\thelper =", "\thelper = " + gitQuote(line)}
		if i := slices.IndexFunc(sections, isSection(origin)); i >= 0 {
			sections[i] = section
		} else {
			sections = append(sections, section)
		}
	}
	after, err := putBlock(now, "git", slices.Concat(sections...), len(textOf(now)))
	if err != nil {
		return nil, err
	}
	for _, origin := range c.Origins {
		if err := gitReads(m, after, origin, line); err != nil {
			return nil, err
		}
	}
	return after, nil
}

// takeGit removes the origins, or all if none is named.
func takeGit(now []byte, origins []string) ([]byte, error) {
	sections, err := gitSections(now)
	if err != nil {
		return nil, err
	}
	before := len(sections)
	for _, origin := range origins {
		sections = slices.DeleteFunc(sections, isSection(origin))
	}
	switch {
	case len(origins) == 0, len(sections) == 0:
		return takeBlock(now, "git")
	case len(sections) == before:
		return now, nil
	}
	return putBlock(now, "git", slices.Concat(sections...), len(textOf(now)))
}

// gitSections are the sections of authferry's block, each with its lines.
func gitSections(now []byte) (sections [][]string, err error) {
	r, err := findBlock(textOf(now), "git")
	if err != nil || r == nil {
		return nil, err
	}
	for _, line := range r.body {
		if len(sections) == 0 || strings.HasPrefix(line, "[") {
			sections = append(sections, nil)
		}
		last := len(sections) - 1
		sections[last] = append(sections[last], line)
	}
	return sections, nil
}

func gitHeader(origin string) string { return "[credential " + gitQuote(origin) + "]" }

func isSection(origin string) func([]string) bool {
	return func(section []string) bool { return section[0] == gitHeader(origin) }
}

// gitConfig is the file that `git config --global` changes.
func gitConfig(m Machine) string {
	if path := m.Getenv("GIT_CONFIG_GLOBAL"); path != "" {
		return path
	}
	usual := filepath.Join(m.Home, ".gitconfig")
	config := m.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(m.Home, ".config")
	}
	other := filepath.Join(config, "git", "config")
	if !exists(usual) && exists(other) {
		return other
	}
	return usual
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// gitHelper is a helper as git runs it: directly if it begins with a path, by a shell if it
// begins with !.
func gitHelper(m Machine, c Choice) string {
	line := shellLine(m, helper(m, c, "git"))
	if strings.HasPrefix(line, "'") || strings.HasPrefix(line, `"`) {
		return "!" + line
	}
	return line
}

// gitQuote quotes a value or a subsection: git-config(1), Syntax.
func gitQuote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// gitAllows asks git whether the file is valid, and whether another helper is set for that
// host.
func gitAllows(m Machine, rest []byte, origin string) error {
	values, err := gitHelpers(m, rest, origin)
	if err != nil {
		return err
	}
	for _, value := range values {
		if value != "" {
			return refuse("for %s it already has the helper %q", origin, program(value)).
				instead("git config --global --unset-all %s", gitKey(origin))
		}
	}
	return nil
}

// gitReads checks that git reads exactly our helper from the file.
func gitReads(m Machine, after []byte, origin, line string) error {
	values, err := gitHelpers(m, after, origin)
	if err != nil || !slices.Contains(values, line) {
		return refuse("git would misread the path of authferry; nothing was changed").
			instead("move authferry to a path of plain letters")
	}
	return nil
}

func gitKey(origin string) string { return "credential." + origin + ".helper" }

// gitHelpers asks git for the helpers in the file itself for a host. Included files are not
// read, because git isn't told the file's folder.
func gitHelpers(m Machine, file []byte, origin string) ([]string, error) {
	path, err := m.LookPath("git")
	if err != nil {
		return nil, refuse("git is not installed, so its configuration can't be read").instead("install git")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "config", "--file", "-", "--no-includes", "--null", "--get-all", gitKey(origin)) // #nosec G204 -- git itself
	cmd.Stdin = strings.NewReader(textOf(file))
	output, err := cmd.Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case failed && exit.ExitCode() == 1: // no such key
		return nil, nil
	case err != nil:
		return nil, refuse("git can't read it; it was left as it is").run("git config --global --list")
	}
	return strings.Split(strings.TrimSuffix(string(output), "\x00"), "\x00"), nil
}

// textOf is a file without a byte order mark.
func textOf(now []byte) string {
	_, text := cutMark(now)
	return text
}

// blockHas reports whether the block has what this authferry would write. what may end in a
// quote, before which arguments may come.
func blockHas(now []byte, name, what string) bool {
	r, err := findBlock(textOf(now), name)
	if err != nil || r == nil {
		return false
	}
	return strings.Contains(strings.Join(r.body, "\n"), strings.TrimSuffix(what, `"`))
}
