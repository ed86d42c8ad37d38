package main

import (
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// How many columns terminals give to text: as tmux has it.
func TestCells(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "abc": 3, "会社": 4, "é": 1, "e\u0301": 1, "חשבון": 5, "🇩🇪": 2, "❤\ufe0f": 1, "한국어": 6, "ｆｕｌｌ": 8, "✓": 1, "…": 1, "█": 1,
		"กำ": 2, "नमस्ते": 4, "🎉": 2, "👍🏽": 4, "ﷺ": 1, "⌚": 2, "𝒜": 1, "１": 2, "①": 1,
	} {
		if got := cells(text); got != want {
			t.Errorf("%q takes %d cells, want %d", text, got, want)
		}
	}
}

// A cut text fits and ends in an ellipsis, wherever a wide letter stands.
func TestShorten(t *testing.T) {
	for _, text := range []string{"a rather long label", "会社のアカウントのラベル", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", "🎉🎉🎉🎉🎉🎉"} {
		for to := 1; to < 30; to++ {
			got := shorten(text, to)
			if cells(got) > to || got != text && !strings.HasSuffix(got, "…") {
				t.Errorf("%q cut to %d is %q", text, to, got)
			}
		}
	}
}

func accountsTable() *table {
	t := newTable("ACCOUNT", "PROVIDER", "STATE", "IDENTITY", "ID")
	t.spare, t.whole, t.least = []int{4, 3}, []int{2, 4}, []int{1}
	t.add("Work", "acme", "valid, 7h 56m left", "ada@example.com", "acc_aaaaaaaaaaaaaaaa")
	t.add("会社のアカウントのラベルはどこまで続くのか", "acme", "held, 2m 30s left", "李@example.com", "acc_bbbbbbbbbbbbbbbb")
	t.add("e\u0301te\u0301 🎉", "a-provider-of-some-length", "login needed", "", "acc_cccccccccccccccc")
	t.add("חשבון", "acme", "disabled", "", "acc_dddddddddddddddd")
	return t
}

// A table takes as many columns as there are and no more, keeps its columns
// aligned whatever script a label is in, and cuts no state and no id.
func TestTableFits(t *testing.T) {
	for columns := 30; columns <= widest; columns++ {
		var b strings.Builder
		testenv.Must(t, accountsTable().print(&b, columns))
		text := b.String()
		at := -1
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if n := cells(line); n > columns {
				t.Fatalf("%d columns: a line takes %d:\n%s", columns, n, text)
			}
			state := []string{"STATE", "valid, 7h 56m left", "held, 2m 30s left", "login needed", "disabled"}[i]
			before, _, found := strings.Cut(line, state)
			if !found {
				t.Fatalf("%d columns: no %s in %q", columns, state, line)
			}
			if i == 0 {
				at = cells(before)
			} else if cells(before) != at {
				t.Fatalf("%d columns: not aligned:\n%s", columns, text)
			}
		}
		if all := strings.Contains(text, "acc_a"); all != strings.Contains(text, "acc_aaaaaaaaaaaaaaaa") || all != (columns >= 128) {
			t.Fatalf("%d columns: the id is there: %v\n%s", columns, all, text)
		}
	}
	var whole strings.Builder
	if err := accountsTable().print(&whole, 0); err != nil || strings.Contains(whole.String(), "…") {
		t.Errorf("no terminal, and something is cut: %v\n%s", err, whole.String())
	}
}

// What is said of a name is broken between words, behind the name; a command and
// a word stay whole.
func TestTableOfFacts(t *testing.T) {
	facts := newTable()
	facts.add("a title that is longer than all that follows and has no column")
	facts.add("pool", "Work, Personal, 会社のアカウント, and 4 more")
	facts.add("", "authferry login acme --renew 'A long label'")
	facts.add("endpoint", "https://login.example.com/oauth2/v2.0/token")
	var b strings.Builder
	testenv.Must(t, facts.print(&b, 30))
	const want = `a title that is longer than
all that follows and has no
column
pool      Work, Personal,
          会社のアカウント,
          and 4 more

    authferry login acme --renew 'A long label'
endpoint
    https://login.example.com/oauth2/v2.0/token
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

// Colours are the terminal's own sixteen, and only where they are wanted.
func TestColours(t *testing.T) {
	for env, want := range map[string]bool{"": false, "CLICOLOR_FORCE=1": true, "CLICOLOR_FORCE=0": false, "CLICOLOR=0 CLICOLOR_FORCE=1": true, "NO_COLOR=1 CLICOLOR_FORCE=1": false} {
		var out strings.Builder
		if got := newTerminal(streams{out: &out, err: &out}, strings.Fields(env)).colours(&out); got != want {
			t.Errorf("with %q: %v", env, got)
		}
	}
}
