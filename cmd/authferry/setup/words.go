package setup

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"
	"sync"
)

// pattern is compiled when it is used: this package is part of a program that
// starts before every request of somebody's agent.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// selection is the choice as arguments of authferry.
func (c Choice) selection() []string {
	switch {
	case c.Account != "":
		return []string{"--account", c.Account}
	case c.Pool != "":
		return []string{"--pool", c.Pool}
	}
	return nil
}

// helper is what a client is to call: the program and its arguments.
func helper(m Machine, c Choice, protocol string) []string {
	return append([]string{m.Binary, "helper", protocol}, c.selection()...)
}

// proxyKey is what a client is to call for the key of the authferry serve at c.Proxy.
func proxyKey(m Machine, c Choice) []string {
	words := []string{m.Binary, "helper", "proxy-key"}
	if c.Proxy != "" {
		words = append(words, c.Proxy)
	}
	return words
}

// proxyOf is the URL in a command line that calls proxyKey; empty: it is none.
func proxyOf(line string) string {
	if !callsUs(line, "proxy-key") {
		return ""
	}
	_, url, _ := strings.Cut(line, " helper proxy-key ")
	return strings.Trim(strings.TrimSpace(url), `'"`)
}

// shellLine writes words for a shell: sh, and on Windows cmd as well, which knows
// no single quotes and takes forward slashes.
func shellLine(m Machine, words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if m.OS == "windows" && i == 0 {
			w = strings.ReplaceAll(w, `\`, "/")
		}
		quoted[i] = shellWord(m, w)
	}
	return strings.Join(quoted, " ")
}

func shellWord(m Machine, w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	switch {
	case w != "" && !strings.ContainsFunc(w, func(r rune) bool { return !plain(r) }):
		return w
	case m.OS == "windows":
		return `"` + strings.ReplaceAll(w, `"`, `\"`) + `"`
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// wordsOf are the words of a line that shellLine has written.
func wordsOf(line string) (words []string) {
	word, some := "", false
	for rest := []rune(line); len(rest) > 0; rest = rest[1:] {
		switch r := rest[0]; {
		case r == ' ':
			if some {
				words = append(words, word)
			}
			word, some = "", false
		case r == '\'' || r == '"':
			for rest = rest[1:]; len(rest) > 0 && rest[0] != r; rest = rest[1:] {
				if r == '"' && rest[0] == '\\' && len(rest) > 1 && rest[1] == '"' {
					rest = rest[1:]
				}
				word += string(rest[0])
			}
			some = true
			if len(rest) == 0 {
				return append(words, word)
			}
		case r == '\\' && len(rest) > 1:
			rest = rest[1:]
			fallthrough
		default:
			word, some = word+string(rest[0]), true
		}
	}
	if some {
		words = append(words, word)
	}
	return words
}

// quoted writes text as JSON does, which TOML and YAML read as well.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string
	// TOML has no bare DEL.
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\x7f", `\u007f`)
}

func quotedList(words []string) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = quoted(w)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// isOurs reports whether a program is called as authferry is, or as a version of it.
func isOurs(program string) bool {
	name := path.Base(strings.ReplaceAll(program, `\`, "/"))
	return strings.HasPrefix(strings.ToLower(name), "authferry")
}

// callsUs reports whether a shell's command line runs authferry's helper for
// protocol.
func callsUs(line, protocol string) bool {
	before, _, ok := strings.Cut(line, " helper "+protocol)
	return ok && isOurs(strings.Trim(strings.TrimPrefix(before, "!"), `'"`))
}

// assignments are what a shell's command line may begin with.
var assignments = pattern(`^(?:[A-Za-z_][A-Za-z0-9_]*=(?:"(?:[^"\\]|\\.)*"|'[^']*'|\\.|[^\s"'\\;|&<>()])*\s+)*`)

// program is the program of somebody's command line, to be shown: variables before
// it and all behind it may hold a secret.
func program(line string) string {
	line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "!"))
	word := line[len(assignments().FindString(line)):]
	if i := strings.IndexAny(word, " \t\r\n=;|&<>"); i >= 0 {
		word = word[:i]
	}
	return word
}
