package main

import (
	"strings"
	"testing"
)

// withKeys has API keys of anthropic in it, of these labels.
func withKeys(t *testing.T, labels ...string) *scene {
	t.Helper()
	s := alone(t)
	for _, label := range labels {
		s.Must("sk-ant-api03-canary-"+strings.ToLower(label), "login", "anthropic", "--api-key-stdin", "--label", label)
	}
	return s
}

// What a number stands for is settled before the question: the account that the person
// read is the one that it happens to, whatever others do meanwhile.
func TestNumberMeansWhatWasRead(t *testing.T) {
	t.Parallel()
	s := withKeys(t, "Ada", "Bob", "Eve")
	x := s.sit("rename", "2", "Robert")
	x.sees(`Rename account "Bob" of anthropic to "Robert"\? \[y/N\] `)
	s.Must("", "order", "Eve", "first")
	s.Must("", "rename", "Bob", "Bert")
	x.answers("", "y")
	x.ends(exitOK)
	if got := strings.Join(s.labels(), " "); got != "anthropic/Eve anthropic/Ada anthropic/Robert" {
		t.Error(got)
	}

	x = s.sit("remove", "3", "--no-revoke")
	x.sees(`Remove account "Robert" of anthropic and delete its login\? \[y/N\] `)
	s.Must("", "remove", "Robert", "--yes")
	x.answers("", "y")
	shown := x.ends(exitAccount)
	if got := strings.Join(s.labels(), " "); got != "anthropic/Eve anthropic/Ada" {
		t.Errorf("%s\n%s", got, shown)
	}
	x = s.sit("use", "2")
	x.sees(`Use account "Ada" of anthropic\? \[y/N\] `)
	x.types("", "\x04")
	if shown := x.ends(exitDeclined); !strings.HasSuffix(shown, "nothing was changed\n") {
		t.Error(shown)
	}
}

// authferry add LABEL is the short way to one more account where there is one provider.
func TestAddLabel(t *testing.T) {
	t.Parallel()
	s := withKeys(t, "Ada")
	const question = `new account "Family" at anthropic\? \[Y/n\] `
	x := s.sit("add", "Family", "--api-key-stdin")
	x.answers(question, "n")
	x.ends(exitDeclined)
	x = s.sit("add", "Family", "--api-key-stdin")
	x.types(question, "\x04")
	x.ends(exitDeclined)
	x = s.sit("add", "Family", "--api-key-stdin")
	x.answers(question, "")
	x.answers(`API key \(not shown\): `, typedKey)
	shown := x.ends(exitOK)
	if got := strings.Join(s.labels(), " "); got != "anthropic/Ada anthropic/Family" {
		t.Error(got)
	}
	keepsNone(s, shown, typedKey)

	// what goes wrong then is about the command that it stands for
	x = s.sit("add", "Third", "--api-key-stdin", "--timeout", "7m")
	x.answers(`new account "Third" at anthropic\? \[Y/n\] `, "")
	x.answers(`API key \(not shown\): `, "sk-ant-ort01-canary")
	if shown := x.ends(exitUsage); !strings.Contains(shown, "hint: authferry login anthropic --timeout 7m --label Third --token-stdin\n") {
		t.Error(shown)
	}

	for _, row := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"add", "family"}, exitAccount, `label "Family" is taken at anthropic`},
		{[]string{"add", "Fam/ily"}, exitUsage, "there is no provider"},
		{[]string{"login", "Family"}, exitUsage, "there is no provider"},
		{[]string{"add", "Mine", "--label", "Other"}, exitUsage, "there is no provider"},
		{[]string{"add", "Mine", "--no-input"}, exitUsage, "hint: authferry login anthropic --label Mine"},
		{[]string{"add", "github", "--flow", "paste"}, exitUsage, "client id"}, // a provider's name is one
	} {
		if shown := s.sit(row.args...).ends(row.code); !strings.Contains(shown, row.want) || strings.Contains(shown, "[Y/n]") {
			t.Errorf("%q: %s", row.args, shown)
		}
	}
	if got := s.Run("", "add", "Mine"); got.Code != exitUsage || !strings.Contains(got.Err, `there is no provider "Mine"; if that is to be an account's label, name its provider`) {
		t.Errorf("%+v", got)
	}
	s.Must("sk-canary-openai-of-somebody", "login", "openai", "--api-key-stdin", "--label", "Work")
	shown = s.sit("add", "Mine").ends(exitUsage)
	for _, want := range []string{"hint: authferry login anthropic --label Mine", "hint: authferry login openai --label Mine"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %s in %s", want, shown)
		}
	}
}
