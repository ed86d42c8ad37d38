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

// git: gitcredentials(7). The empty helper before ours is git's way to say "and no
// other for this host": git tells all helpers of a password that worked, and one of
// them would keep the token in a file.
var git = Client{
	Name: "git", Title: "Git", Programs: []string{"git"}, Hosts: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: gitConfig(m), Mode: 0o644,
			Put: func(now []byte) ([]byte, error) {
				if len(c.Origins) == 0 {
					return nil, noHosts
				}
				rest, err := takeBlock(now, "git")
				if err != nil {
					return nil, err
				}
				var body []string
				for _, origin := range c.Origins {
					if err := gitAllows(m, rest, origin); err != nil {
						return nil, err
					}
					body = append(body, "[credential "+gitQuote(origin)+"]", "\thelper =", "\thelper = "+gitQuote(gitHelper(m, c)))
				}
				after, err := putBlock(now, "git", body, len(textOf(now)))
				if err != nil {
					return nil, err
				}
				for _, origin := range c.Origins {
					if err := gitReads(m, after, origin, gitHelper(m, c)); err != nil {
						return nil, err
					}
				}
				return after, nil
			},
			Take:    func(now []byte) ([]byte, error) { return takeBlock(now, "git") },
			Current: func(now []byte) bool { return blockHas(now, "git", gitQuote(gitHelper(m, Choice{}))) },
		}}, nil
	},
}

// noHosts: there is nothing to take a host from.
var noHosts = refuse("this account may send its token to no host yet (no --api-origin)").
	instead("name one with --host https://HOST")

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

// gitHelper is a helper as git runs it: what begins with a path it runs as it is,
// what begins with ! its shell does.
func gitHelper(m Machine, c Choice) string {
	line := shellLine(m, helper(m, c, "git"))
	if strings.HasPrefix(line, "'") || strings.HasPrefix(line, `"`) {
		return "!" + line
	}
	return line
}

// gitQuote writes a value or a subsection: git-config(1), Syntax.
func gitQuote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// gitAllows asks git whether the file is one, and whether somebody else answers
// for that very host already.
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

// gitReads asks git whether it reads our helper, to the letter, out of the file.
func gitReads(m Machine, after []byte, origin, line string) error {
	values, err := gitHelpers(m, after, origin)
	if err != nil || !slices.Contains(values, line) {
		return refuse("git would misread the path of authferry; nothing was changed").
			instead("move authferry to a path of plain letters")
	}
	return nil
}

func gitKey(origin string) string { return "credential." + origin + ".helper" }

// gitHelpers asks git for the helpers that the file itself names for a host; what
// it includes is found from the file's folder, which git isn't told.
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

// textOf is a file without the mark that some editors begin it with.
func textOf(now []byte) string {
	_, text := cutMark(now)
	return text
}

// blockHas reports whether the block has what this authferry would write. what may
// end in a quote, which arguments come before.
func blockHas(now []byte, name, what string) bool {
	r, err := findBlock(textOf(now), name)
	if err != nil || r == nil {
		return false
	}
	return strings.Contains(strings.Join(r.body, "\n"), strings.TrimSuffix(what, `"`))
}
