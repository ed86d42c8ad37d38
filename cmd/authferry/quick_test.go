package main

import (
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
)

// What is parsed quickly, kong takes as well and reads the same out of it.
func TestQuickIsKong(t *testing.T) {
	words := []string{"acme", "https://mcp.example.com/mcp", "--json", "--account", "--account=Work", "--pool", "--pool=p q", "--min-ttl", "--min-ttl=5m", "30s", "--rejected",
		"acc_aaaaaaaaaaaaaaaa.7", "--rejected=x", "--quiet", "--no-input", "--no-input=false", "--hold-scope", "--hold-scope=model:m", "-a", "--", "--help", "", "--json=false", "--account=", "-", "--no-such", "=", "--=x", "a=b", "Größe"}
	for name, test := range map[string]struct {
		command []string
		quickly func([]string) (any, *globals, bool)
	}{
		"token":       {[]string{"token"}, func(args []string) (any, *globals, bool) { return quickToken(args) }},
		"mcp-headers": {[]string{"helper", "mcp-headers"}, func(args []string) (any, *globals, bool) { return quickHeaders(args) }},
	} {
		t.Run(name, func(t *testing.T) {
			quick := 0
			rapid.Check(t, func(t *rapid.T) {
				args := append(slices.Clone(test.command), rapid.SliceOfN(rapid.SampledFrom(words), 0, 5).Draw(t, "args")...)
				got, flags, ok := test.quickly(args)
				if !ok {
					return
				}
				quick++
				parsed, all, err := parse(args, streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
				if err != nil {
					t.Fatalf("kong refuses %q: %v", args, err)
				}
				want := parsed.Selected().Target.Addr().Interface()
				if !reflect.DeepEqual(got, want) || *flags != *all {
					t.Fatalf("%q: %+v, kong says %+v", args, got, want)
				}
			})
			if quick == 0 {
				t.Error("nothing was quick")
			}
		})
	}
}

func TestQuickViewIsKong(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"list"}, {"list", "--json"}} {
		got, ok := quickView(args)
		parsed, flags, err := parse(args, streams{in: strings.NewReader(""), out: io.Discard, err: io.Discard})
		testenv.Must(t, err)
		if want := parsed.Selected().Target.Addr().Interface(); !ok || !reflect.DeepEqual(got, want) || *flags != (globals{}) {
			t.Errorf("%q: %+v (%v), kong says %+v", args, got, ok, want)
		}
	}
	for _, args := range [][]string{nil, {"ls"}, {"status", "--help"}, {"status", "--json=false"}, {"list", "--json", "--json"}, {"list", ""}} {
		if got, ok := quickView(args); ok {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// Each command has a grammar of its own, which has that command alone.
func TestOnlyCommand(t *testing.T) {
	grammarOf := func(what reflect.Type) *kong.Kong {
		k, err := newParser(reflect.New(what).Interface(), streams{out: io.Discard, err: io.Discard})
		testenv.Must(t, err)
		return k
	}
	whole := reflect.TypeFor[grammar]()
	for _, leaf := range grammarOf(whole).Model.Leaves(false) {
		words := strings.Fields(leaf.FullPath())[1:]
		if got := grammarOf(onlyCommand(whole, words)).Model.Leaves(false); len(got) != 1 || got[0].FullPath() != leaf.FullPath() {
			t.Errorf("%q: a grammar of %d commands", words, len(got))
		}
	}
}

// A herd that fails is not made to read the whole grammar for its hints.
func TestHintsAreQuick(t *testing.T) {
	whole := testing.AllocsPerRun(3, func() {
		testenv.Must(t, testenv.Err(newParser(new(grammar), streams{out: io.Discard, err: io.Discard})))
	})
	failed := &fault.Error{Code: fault.ProviderRefused, RetryAt: time.Now().Add(time.Hour), Next: []fault.Remedy{{Do: fault.Again}, {Do: fault.Status}}}
	for _, args := range [][]string{{"token", "--account", "x", "--json"}, {"header", "--pool", "p"}, {"helper", "git", "get", "--account", "x"}} {
		var hint string
		if got := testing.AllocsPerRun(3, func() { hint = newHints(args, nil).of(failed) }); got > whole/2 {
			t.Errorf("%q: %v allocations for %q; the grammar alone is %v", args, got, hint, whole)
		}
	}
}
