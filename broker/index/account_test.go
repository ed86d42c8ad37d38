package index

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !ValidID(id) || seen[id] {
			t.Fatalf("NewID() = %q", id)
		}
		seen[id] = true
	}
	if s := NewStoreID(); !isRandomName(s) {
		t.Errorf("NewStoreID() = %q", s)
	}
	for _, s := range []string{"", "acc_", "acc_aaaaaaaaaaaaaaa", "acc_aaaaaaaaaaaaaaaaa", "acc_AAAAAAAAAAAAAAAA",
		"acc_aaaaaaaaaaaaaaa1", "acc_../../../../etc", "acc-aaaaaaaaaaaaaaaa", "acc_aaaaaaaaaaaaaaa\x00", "acc_aaaaaaaaaaaaaa\u00e9"} {
		if ValidID(s) {
			t.Errorf("ValidID(%q)", s)
		}
	}
}

func TestLookUps(t *testing.T) {
	named := func(label, provider, pool string, rank int, added time.Duration) Account {
		a := newAccount(label)
		a.Provider, a.Pool, a.Rank, a.AddedAt = provider, pool, rank, noon.Add(added)
		return a
	}
	gone := named("Work", "anthropic", "anthropic", 1, 0)
	gone.Removing = true
	ix := &Index{Accounts: []Account{
		named("third", "anthropic", "anthropic", 2, 2),
		named("work", "openai", "openai", 1, 0),
		named("second", "anthropic", "anthropic", 2, 1),
		gone,
		named("WORK", "anthropic", "anthropic", 1, 9),
		named("other", "anthropic", "private", 1, 0),
	}}
	labels := func(accounts []*Account) string {
		var s []string
		for _, a := range accounts {
			s = append(s, a.Label)
		}
		return strings.Join(s, " ")
	}
	if got := labels(ix.Members("anthropic")); got != "WORK second third" {
		t.Errorf("Members = %s", got)
	}
	if got := labels(ix.Members("none")); got != "" {
		t.Errorf("Members of no pool = %s", got)
	}
	if got := labels(ix.Labelled("", "Work")); got != "work WORK" {
		t.Errorf("Labelled = %s", got)
	}
	if got := labels(ix.Labelled("openai", "Work")); got != "work" {
		t.Errorf("Labelled at one provider = %s", got)
	}
	ix.Account(gone.ID).Label = "changed in place"
	if ix.Accounts[3].Label != "changed in place" || ix.Account("none") != nil {
		t.Error("Account does not find by id")
	}
}

func TestFreeSlot(t *testing.T) {
	intent := func(slot string, at time.Duration) Intent {
		return Intent{Slot: slot, Generation: 2, StartedAt: noon.Add(at)}
	}
	for _, test := range []struct {
		name    string
		current string
		intents []Intent
		want    string
	}{
		{"new account", "", nil, "a"},
		{"round the ring", "b", nil, "c"},
		{"end of the ring", "d", nil, "a"},
		{"an intent in the way", "a", []Intent{intent("b", 0)}, "c"},
		{"intents all round but one", "a", []Intent{intent("b", 0), intent("c", 1)}, "d"},
		{"all named: the oldest", "a", []Intent{intent("c", 2), intent("d", 1), intent("b", 3)}, "d"},
		{"all named: never the current one", "a", []Intent{intent("a", 0), intent("c", 2), intent("d", 1), intent("b", 3)}, "d"},
		{"all named: as old as its last intent", "a", []Intent{intent("b", 1), intent("c", 3), intent("d", 2), intent("b", 4)}, "d"},
		{"intents in all four, none current", "", []Intent{intent("a", 4), intent("b", 3), intent("c", 2), intent("d", 1)}, "d"},
	} {
		grant := Account{GrantSlot: test.current, AccessSlot: "c", Intents: test.intents}
		if got := FreeSlot(grant, GrantRecord); got != test.want {
			t.Errorf("%s: grant goes to %q, want %q", test.name, got, test.want)
		}
		access := Account{AccessSlot: test.current, GrantSlot: "c", Intents: test.intents}
		if got := FreeSlot(access, AccessRecord); got != test.want {
			t.Errorf("%s: access goes to %q, want %q", test.name, got, test.want)
		}
	}
}

func TestFreeSlotNeverOverwrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slot := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
		a := Account{GrantSlot: slot.Draw(t, "grant"), AccessSlot: slot.Draw(t, "access")}
		named := map[string]bool{}
		for i := range rapid.IntRange(0, 8).Draw(t, "intents") {
			in := Intent{Slot: slot.Filter(validSlot).Draw(t, "slot"), StartedAt: noon.Add(time.Duration(i))}
			a.Intents = append(a.Intents, in)
			named[in.Slot] = true
		}
		for kind, current := range map[Record]string{GrantRecord: a.GrantSlot, AccessRecord: a.AccessSlot} {
			got := FreeSlot(a, kind)
			if !validSlot(got) || got == current {
				t.Fatalf("%s goes to %q, and %q is current", kind, got, current)
			}
			free := slices.ContainsFunc([]string{"a", "b", "c", "d"}, func(s string) bool { return s != current && !named[s] })
			if free && named[got] {
				t.Fatalf("%s goes to %q, which an intent names", kind, got)
			}
		}
	})
}
