package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

// Every type of the schema must keep the fields that a later version adds.
func TestEveryTypeOfTheSchemaKeepsUnknownFields(t *testing.T) {
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			check(typ.Elem())
		case reflect.Struct:
			if typ == reflect.TypeFor[time.Time]() {
				return
			}
			field, ok := typ.FieldByName("Extra")
			if !ok || field.Type != reflect.TypeFor[extra]() || field.Tag.Get("json") != "-" {
				t.Errorf("%v has no field Extra", typ)
			}
			for f := range typ.Fields() {
				if f.Name != "Extra" {
					check(f.Type)
				}
			}
		}
	}
	check(reflect.TypeFor[Index]())
}

// Unknown fields belong to their object: they go where it goes.
func TestUnknownFieldsFollowTheirObject(t *testing.T) {
	f := newFile(t)
	const first, second = "acc_aaaaaaaaaaaaaaaa", "acc_bbbbbbbbbbbbbbbb"
	must(t, os.WriteFile(f.path(), []byte(`{"schema":1,"store":"aaaaaaaaaaaaaaaa","keystore":"keychain","path":"/x","new":{"top":1.50},
		"accounts":[
		{"id":"`+first+`","label":"one","provider":"p","pool":"p","kind":"oauth","rank":1,"generation":1,"added_at":"2026-11-23T12:00:00Z","new":"of one",
		 "holds":[{"scope":"a","until":"2026-11-23T12:00:00Z","source":"s","proven":true,"reported_at":"2026-11-23T12:00:00Z","new":"hold a"},
		          {"scope":"b","until":"2026-11-23T12:00:00Z","source":"s","proven":true,"reported_at":"2026-11-23T12:00:00Z","new":"hold b"}]},
		{"id":"`+second+`","label":"two","provider":"p","pool":"p","kind":"oauth","rank":2,"generation":1,"added_at":"2026-11-23T12:00:00Z","new":"of two",
		 "intents":[{"slot":"a","generation":2,"fingerprint":"f","attempt":1,"pid":7,"started_at":"2026-11-23T12:00:00Z","new":"intent"}],
		 "failure":{"class":"c","count":1,"next_try_at":"2026-11-23T12:00:00Z","new":"failure"},
		 "usage":[{"window":"5h","used":0.5,"reported_at":"2026-11-23T12:00:00Z","new":"usage"}],
		 "share":{"pool":"pool_aaaaaaaaaaaaaaaa","role":"holder","sight":{"nonce":"n","phase":"claimed","new":"sight"},"claims":[{"nonce":"n","new":"claim"}],"new":"share"}}],
		"pools":{"p":{"provider":"p","new":"pool <&>"}},
		"bindings":[{"dir":"/d","provider":"p","pool":"p","new":"binding"}],
		"shares":[{"id":"pool_aaaaaaaaaaaaaaaa","pool":"p","machine":"laptop","role":"holder","new":"shared pool"}]}`), 0o600))

	must(t, f.Update(patience(t), Fast, func(ix *Index) error {
		slices.Reverse(ix.Accounts)
		one := ix.Account(first)
		one.Holds = one.Holds[1:]
		ix.Accounts = slices.Insert(ix.Accounts, 1, newAccount("three"))
		return nil
	}))
	data, err := os.ReadFile(f.path())
	must(t, err)
	for _, want := range []string{`"new":{"top":1.50}`, `"new":"hold b"`, `"new":"intent"`, `"new":"failure"`, `"new":"usage"`, `"new":"pool <&>"`, `"new":"binding"`,
		`"new":"share"`, `"new":"sight"`, `"new":"claim"`, `"new":"shared pool"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s is lost", want)
		}
	}
	if strings.Contains(string(data), "hold a") {
		t.Error("a field of the hold that went is still there")
	}
	ix, err := parseKeeping(data)
	must(t, err)
	for id, want := range map[string]string{first: `"of one"`, second: `"of two"`} {
		if got := string(ix.Account(id).Extra["new"]); got != want {
			t.Errorf("%s has %s, want %s", id, got, want)
		}
	}
	if ix.Accounts[1].Extra != nil {
		t.Errorf("the account that was added has %v", ix.Accounts[1].Extra)
	}
	read, err := f.Read()
	must(t, err)
	if read.Extra != nil || read.Accounts[0].Extra != nil {
		t.Error("Read pays for unknown fields")
	}
}

func TestRefusedContent(t *testing.T) {
	for name, change := range map[string]func(*Index){
		"schema 0":                  func(ix *Index) { ix.Schema = 0 },
		"no store":                  func(ix *Index) { ix.Store = "" },
		"store with a path":         func(ix *Index) { ix.Store = "../aaaaaaaaaaaaa" },
		"id with a path":            func(ix *Index) { ix.Accounts[0].ID = "acc_../../../../../x" },
		"no id":                     func(ix *Index) { ix.Accounts[0].ID = "" },
		"id twice":                  func(ix *Index) { ix.Accounts[1].ID = ix.Accounts[0].ID },
		"label with a control":      func(ix *Index) { ix.Accounts[0].Label = "a\x1b[2Jb" },
		"label with a slash":        func(ix *Index) { ix.Accounts[0].Label = "a/b" },
		"no label":                  func(ix *Index) { ix.Accounts[0].Label = "" },
		"provider with a slash":     func(ix *Index) { ix.Accounts[0].Provider = "../other" },
		"provider for a shell":      func(ix *Index) { ix.Accounts[0].Provider = "sim;touch pwned" },
		"provider that is a flag":   func(ix *Index) { ix.Accounts[0].Provider = "--help" },
		"pool of such a provider":   func(ix *Index) { ix.Pools["p"] = Pool{Provider: "$(touch pwned)"} },
		"binding for such a one":    func(ix *Index) { ix.Bindings[0].Provider = "`touch pwned`" },
		"no provider":               func(ix *Index) { ix.Accounts[0].Provider = "" },
		"no pool":                   func(ix *Index) { ix.Accounts[0].Pool = "" },
		"negative generation":       func(ix *Index) { ix.Accounts[0].Generation = -1 },
		"generation without end":    func(ix *Index) { ix.Accounts[0].Generation = math.MaxInt },
		"generation too high":       func(ix *Index) { ix.Accounts[0].Generation = MaxCount + 1 },
		"negative failures":         func(ix *Index) { ix.Accounts[0].Failure = &Failure{Count: -50} },
		"failures without end":      func(ix *Index) { ix.Accounts[0].Failure = &Failure{Count: math.MaxInt} },
		"negative guesses":          func(ix *Index) { ix.Accounts[0].Holds = []Hold{{Scope: "*", Guesses: -1}} },
		"guesses without end":       func(ix *Index) { ix.Accounts[0].Holds = []Hold{{Scope: "*", Guesses: math.MaxInt}} },
		"grant slot e":              func(ix *Index) { ix.Accounts[0].GrantSlot = "e" },
		"access slot with a path":   func(ix *Index) { ix.Accounts[0].AccessSlot = "a/../../x" },
		"intent without a slot":     func(ix *Index) { ix.Accounts[0].Intents = []Intent{{Generation: 2}} },
		"intent of generation 0":    func(ix *Index) { ix.Accounts[0].Intents = []Intent{{Slot: "a"}} },
		"intent without end":        func(ix *Index) { ix.Accounts[0].Intents = []Intent{{Slot: "a", Generation: math.MaxInt}} },
		"intent of attempt -1":      func(ix *Index) { ix.Accounts[0].Intents = []Intent{{Slot: "a", Generation: 2, Attempt: -1}} },
		"intent of attempts no end": func(ix *Index) { ix.Accounts[0].Intents = []Intent{{Slot: "a", Generation: 2, Attempt: math.MaxInt}} },
		"pool without a provider":   func(ix *Index) { ix.Pools["p"] = Pool{} },
		"pool with a control":       func(ix *Index) { ix.Pools["p\n"] = Pool{Provider: "p"} },
		"current with a path":       func(ix *Index) { ix.Pools["p"] = Pool{Provider: "p", Current: "../x"} },
		"binding to nothing":        func(ix *Index) { ix.Bindings[0].Pool = "" },
		"binding to two":            func(ix *Index) { ix.Bindings[0].Account = ix.Accounts[0].ID },
		"binding of no directory":   func(ix *Index) { ix.Bindings[0].Dir = "" },
		"shared pool with a path":   func(ix *Index) { ix.Shares[0].ID = "pool_../../aaaaaaaaaa" },
		"shared pool of no name":    func(ix *Index) { ix.Shares[0].Pool = "" },
		"machine with a control":    func(ix *Index) { ix.Shares[0].Machine = "a\x1b[2Jb" },
		"machine without a role":    func(ix *Index) { ix.Shares[0].Role = "" },
		"share of no pool":          func(ix *Index) { ix.Accounts[0].Share = &Share{Role: RoleHolder} },
		"share without a role":      func(ix *Index) { ix.Accounts[0].Share = &Share{Pool: ix.Shares[0].ID, Role: "king"} },
		"share with a control": func(ix *Index) {
			ix.Accounts[0].Share = &Share{Pool: ix.Shares[0].ID, Role: RoleHolder, Machine: "a\n"}
		},
		"share without end": func(ix *Index) {
			ix.Accounts[0].Share = &Share{Pool: ix.Shares[0].ID, Role: RoleHolder, Generation: math.MaxInt}
		},
		"binding to a malformed id": func(ix *Index) { ix.Bindings[0].Pool, ix.Bindings[0].Account = "", "x" },
	} {
		ix := &Index{Schema: Schema, Store: NewStoreID(), Path: "/x",
			Accounts: []Account{newAccount("one"), newAccount("two")},
			Pools:    map[string]Pool{"p": {Provider: "p"}},
			Bindings: []Binding{{Dir: "/d", Provider: "p", Pool: "p"}},
			Shares:   []SharedPool{{ID: NewSharedPoolID(), Pool: "p", Machine: "laptop", Role: RoleHolder}}}
		if _, err := encode(ix); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		change(ix)
		data, err := marshal(ix)
		must(t, err)
		if _, err := parse(data); err == nil {
			t.Errorf("%s: parse accepts it", name)
		}
		if _, err := parseKeeping(data); err == nil {
			t.Errorf("%s: parseKeeping accepts it", name)
		}
		if _, err := encode(ix); err == nil {
			t.Errorf("%s: encode accepts it", name)
		}
	}
}

// What a later version writes and this one rewrites is the same document.
func TestRoundTripKeepsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, err := encode(drawIndex(t))
		testenv.Must(t, err)
		var doc any
		testenv.Must(t, json.Unmarshal(data, &doc))
		extend(t, doc, true)
		later, err := json.Marshal(doc)
		testenv.Must(t, err)
		ix, err := parseKeeping(later)
		if err != nil {
			t.Fatalf("%v in %s", err, later)
		}
		rewritten, err := encode(ix)
		testenv.Must(t, err)
		var got any
		testenv.Must(t, json.Unmarshal(rewritten, &got))
		if !reflect.DeepEqual(got, doc) {
			t.Fatalf("%s\nbecame\n%s", later, rewritten)
		}
	})
}

// What this version writes, it reads: the same values, and the same bytes again.
func TestRoundTripOfValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix := drawIndex(t)
		data, err := encode(ix)
		testenv.Must(t, err)
		for name, parse := range map[string]func([]byte) (*Index, error){"parse": parse, "parseKeeping": parseKeeping} {
			got, err := parse(data)
			testenv.Must(t, err)
			if !reflect.DeepEqual(got, ix) {
				t.Fatalf("%s: %+v\nbecame\n%+v", name, ix, got)
			}
		}
	})
}

func drawIndex(t *rapid.T) *Index {
	name := rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`)
	text := rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, '\ufffd') })
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "unix"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	slot := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	label := rapid.StringMatching(`[A-Za-zäöü@. ]{1,12}[a-z]`)
	hold := rapid.Custom(func(t *rapid.T) Hold {
		return Hold{Scope: name.Draw(t, "scope"), Until: moment.Draw(t, "until"), Source: text.Draw(t, "source"),
			Proven: rapid.Bool().Draw(t, "proven"), ReportedAt: moment.Draw(t, "reported"), Guesses: count(t, 0, "guesses"), Told: text.Draw(t, "told")}
	})
	toldHold := rapid.Custom(func(t *rapid.T) ToldHold {
		return ToldHold{ID: text.Draw(t, "id"), Until: moment.Draw(t, "until")}
	})
	intent := rapid.Custom(func(t *rapid.T) Intent {
		return Intent{Slot: slot.Draw(t, "slot"), Generation: count(t, 1, "generation"),
			Attempt: count(t, 0, "attempt"), PID: rapid.IntRange(1, 1<<22).Draw(t, "pid"), StartedAt: moment.Draw(t, "started")}
	})
	usage := rapid.Custom(func(t *rapid.T) Usage {
		return Usage{Window: name.Draw(t, "window"), Used: rapid.Float64Range(0, 2).Draw(t, "used"), ReportedAt: moment.Draw(t, "reported")}
	})
	sharedID := rapid.StringMatching(`pool_[a-z2-7]{16}`)
	role := rapid.SampledFrom([]string{RoleHolder, RoleConsumer})
	claim := rapid.Custom(func(t *rapid.T) Claim {
		return Claim{Nonce: name.Draw(t, "nonce"), Announced: rapid.Bool().Draw(t, "announced"), Refused: rapid.Bool().Draw(t, "refused"), Boot: text.Draw(t, "boot"), PID: rapid.IntRange(0, 1<<22).Draw(t, "pid")}
	})
	share := rapid.Custom(func(t *rapid.T) *Share {
		s := &Share{Pool: sharedID.Draw(t, "pool"), Role: role.Draw(t, "role"), State: name.Draw(t, "state"), Machine: name.Draw(t, "machine"),
			Since: moment.Draw(t, "since"), Generation: count(t, 0, "generation"), Claims: listOf(t, claim)}
		if rapid.Bool().Draw(t, "seen") {
			s.Sight = &Sight{Nonce: name.Draw(t, "nonce"), Phase: name.Draw(t, "phase"), At: time.Duration(rapid.Int64Range(0, 1<<52).Draw(t, "at")), Wall: moment.Draw(t, "wall")}
		}
		if rapid.Bool().Draw(t, "limits") {
			s.Told = &Told{Version: rapid.Int64Range(0, 1<<52).Draw(t, "version"), Holds: listOf(t, toldHold), Usage: text.Draw(t, "usage"), UsageAt: moment.Draw(t, "usage at"), Probe: text.Draw(t, "probe")}
		}
		if rapid.Bool().Draw(t, "settings") {
			s.Settings = &Settings{Change: text.Draw(t, "change"), Label: text.Draw(t, "label"), Rank: count(t, 0, "rank"), Disabled: rapid.Bool().Draw(t, "disabled")}
		}
		return s
	})
	ids := rapid.StringMatching(`acc_[a-z2-7]{16}`)
	ix := &Index{Schema: Schema, Store: rapid.StringMatching(`[a-z2-7]{16}`).Draw(t, "store"),
		Keystore: rapid.SampledFrom([]string{"", "keychain", "file"}).Draw(t, "keystore"), Path: text.Draw(t, "path"), Accounts: []Account{}}
	for _, id := range rapid.SliceOfNDistinct(ids, 0, 4, rapid.ID).Draw(t, "ids") {
		a := Account{ID: id, Label: label.Draw(t, "label"), Provider: name.Draw(t, "provider"), Pool: name.Draw(t, "pool"),
			Kind: "oauth", Rank: rapid.IntRange(0, 9).Draw(t, "rank"), Disabled: rapid.Bool().Draw(t, "disabled"),
			Identity: text.Draw(t, "identity"), Generation: count(t, 0, "generation"),
			GrantSlot: slot.Draw(t, "grant"), AddedAt: moment.Draw(t, "added")}
		a.Holds = listOf(t, hold)
		a.Intents = listOf(t, intent)
		a.Usage = listOf(t, usage)
		if rapid.Bool().Draw(t, "shared") {
			a.Share = share.Draw(t, "share")
		}
		if rapid.Bool().Draw(t, "failed") {
			a.Failure = &Failure{Class: name.Draw(t, "class"), Message: text.Draw(t, "message"), Count: count(t, 0, "count"), NextTryAt: moment.Draw(t, "next"), TokenOver: rapid.Bool().Draw(t, "over")}
		}
		ix.Accounts = append(ix.Accounts, a)
	}
	for range rapid.IntRange(0, 2).Draw(t, "pools") {
		if ix.Pools == nil {
			ix.Pools = map[string]Pool{}
		}
		ix.Pools[name.Draw(t, "pool")] = Pool{Provider: name.Draw(t, "provider"), Current: ids.Draw(t, "current")}
	}
	for range rapid.IntRange(0, 2).Draw(t, "bindings") {
		ix.Shares = append(ix.Shares, SharedPool{ID: sharedID.Draw(t, "shared"), Pool: name.Draw(t, "pool"), Machine: name.Draw(t, "machine"), Role: role.Draw(t, "role"),
			Passing: rapid.Bool().Draw(t, "passing"), SeenAt: moment.Draw(t, "seen"), Engine: name.Draw(t, "engine"), LookedAt: moment.Draw(t, "looked")})
		ix.Bindings = append(ix.Bindings, Binding{Dir: "/" + name.Draw(t, "dir"), Provider: name.Draw(t, "provider"), Pool: name.Draw(t, "pool")})
	}
	return ix
}

// count draws what can be counted to, its bounds often.
func count(t *rapid.T, least int, label string) int {
	return rapid.OneOf(rapid.IntRange(least, 99), rapid.SampledFrom([]int{least, MaxCount - 1, MaxCount})).Draw(t, label)
}

// listOf draws a list that is nil when empty, as it comes back from a file.
func listOf[T any](t *rapid.T, g *rapid.Generator[T]) []T {
	list := rapid.SliceOfN(g, 0, 2).Draw(t, fmt.Sprintf("%T", *new(T)))
	if len(list) == 0 {
		return nil
	}
	return list
}

// extend adds fields that the schema does not know to objects of doc. The keys of
// pools are names, no fields; its values are objects again.
func extend(t *rapid.T, doc any, isObject bool) {
	switch doc := doc.(type) {
	case []any:
		for _, element := range doc {
			extend(t, element, true)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			extend(t, doc[key], key != "pools")
		}
		if isObject {
			for range rapid.IntRange(0, 2).Draw(t, "unknown") {
				doc[rapid.StringMatching(`x_[a-zA-Z<"\\]{0,4}`).Draw(t, "field")] = rapid.SampledFrom([]any{
					nil, true, 0.1, "text <&> \u2028 \"", []any{}, map[string]any{"id": "acc_x", "holds": []any{1.0}},
				}).Draw(t, "value")
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	ix := &Index{Schema: Schema, Store: NewStoreID(), Path: "/x", Accounts: []Account{newAccount("one")},
		Pools: map[string]Pool{"p": {Provider: "p"}}}
	ix.Accounts[0].Holds = []Hold{{Scope: "*", Until: noon, ReportedAt: noon}}
	ix.Accounts[0].Intents = []Intent{{Slot: "b", Generation: 2, StartedAt: noon}}
	ix.Accounts[0].Share = &Share{Pool: NewSharedPoolID(), Role: RoleHolder, Sight: &Sight{Nonce: "n", At: time.Hour}, Claims: []Claim{{Nonce: "n"}}, Told: &Told{Version: 7, Holds: []ToldHold{{ID: "n", Until: noon}}}, Settings: &Settings{Label: "one", Rank: 1}}
	ix.Shares = []SharedPool{{ID: ix.Accounts[0].Share.Pool, Pool: "p", Machine: "laptop", Role: RoleHolder, SeenAt: noon}}
	good, err := encode(ix)
	testenv.Must(f, err)
	for _, s := range []string{
		string(good), "\xef\xbb\xbf" + string(good), strings.Replace(string(good), `"label"`, `"new":[1,{"a":2}],"label"`, 1),
		strings.Replace(string(good), `"accounts"`, `"Accounts":null,"accounts"`, 1),
		strings.Replace(string(good), `"generation":1,`, `"generation":9223372036854775806,`, 1), strings.Replace(string(good), `"generation":2,`, `"generation":9223372036854775807,`, 1),
		"", "null", "[]", "{}", `{"schema":2}`, `{"schema":1e400}`, `{"schema":1,"store":"aaaaaaaaaaaaaaaa","accounts":[null]}`,
		`{"schema":1,"store":"aaaaaaaaaaaaaaaa","accounts":[],"pools":{"a":null},"bindings":null,"x":1,"X":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wantQuickAgrees(t, data)
		read, err := parse(data)
		kept, keptErr := parseKeeping(data)
		if (err == nil) != (keptErr == nil) {
			t.Fatalf("parse says %v, parseKeeping says %v", err, keptErr)
		}
		if err != nil {
			return
		}
		file := At("folder")
		for _, a := range read.Accounts {
			if !ValidCount(a.Generation) {
				t.Fatalf("generation %d", a.Generation)
			}
			for _, path := range []string{lock.Gate(a.ID).In(file.Dir()), lock.Rotation(a.ID).In(file.Dir())} {
				if filepath.Dir(path) != filepath.Join("folder", "locks") {
					t.Fatalf("%q names the lock %s", a.ID, path)
				}
			}
		}
		once, err := encode(kept)
		if err != nil {
			// Times outside of what JSON has a form for are read in some zones.
			t.Skip(err)
		}
		again, err := parseKeeping(once)
		if err != nil {
			t.Fatalf("%v in what was written: %s", err, once)
		}
		twice, err := encode(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\nbecame\n%s\n%v", once, twice, err)
		}
	})
}
