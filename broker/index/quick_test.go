package index

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/testenv"
)

// What quickParse takes, encoding/json takes as well, with the same result.
func wantQuickAgrees(t interface {
	Helper()
	Fatalf(string, ...any)
}, data []byte,
) (quick bool) {
	t.Helper()
	got, ok := quickParse(data)
	if !ok {
		return false
	}
	want := new(Index)
	if err := json.Unmarshal(data, want); err != nil {
		t.Fatalf("%s: taken, and encoding/json says %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nread %+v\nwant %+v", data, got, want)
	}
	return true
}

func TestWhatIsWrittenIsReadQuickly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix := drawIndex(t)
		data, err := encode(ix)
		testenv.Must(t, err)
		if !wantQuickAgrees(t, data) {
			t.Fatalf("not quick: %s", data)
		}
		var pretty bytes.Buffer
		testenv.Must(t, json.Indent(&pretty, data, "", "\t"))
		if !wantQuickAgrees(t, pretty.Bytes()) {
			t.Fatalf("not quick: %s", pretty.Bytes())
		}
	})
}

// Every field of the schema, set, is read: one that was added to it and not to
// quickParse would make each call slow, or be lost.
func TestEveryFieldIsReadQuickly(t *testing.T) {
	ix := &Index{Pools: map[string]Pool{}}
	fillFields(t, reflect.ValueOf(ix).Elem())
	data, err := marshal(ix)
	must(t, err)
	if !wantQuickAgrees(t, data) {
		t.Errorf("not quick: %s", data)
	}
}

// fillFields gives every field below v a value that is not its zero value.
func fillFields(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Extra" {
				fillFields(t, v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillFields(t, v.Index(0))
		fillFields(t, v.Index(1))
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fillFields(t, element)
		v.SetMapIndex(reflect.ValueOf("key"), element)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillFields(t, v.Elem())
	case reflect.String:
		v.SetString(`C:\a "text" of ünusual ` + "\u2028\n")
	case reflect.Int, reflect.Int64:
		v.SetInt(-12)
	case reflect.Float64:
		v.SetFloat(1.5e-9)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("the schema has a %s: quickParse and this test have to learn it", v.Type())
	}
}

func TestNotQuick(t *testing.T) {
	const good = `{"schema":1,"store":"aaaaaaaaaaaaaaaa","accounts":[{"id":"x","rank":1,"added_at":"2026-11-23T12:00:00Z","usage":[{"window":"w","used":1}]}],"pools":{"p":{"provider":"p"}}}`
	if !wantQuickAgrees(t, []byte(good)) {
		t.Fatal("the usual form is not quick")
	}
	for _, change := range [][2]string{
		{`{"schema":1,`, `{"Schema":1,`},
		{`{"schema":1,`, `{"schema":1,"schema":2,`},
		{`{"schema":1,`, `{"schema":1,"new":2,`},
		{`{"schema":1,`, `{"schema":01,`},
		{`{"schema":1,`, `{"schema":-0,`},
		{`{"schema":1,`, `{"schema":1.0,`},
		{`{"schema":1,`, `{"schema":99999999999999999999,`},
		{`{"schema":1,`, `{"schema":,`},
		{`{"schema":1,`, `{"schema":1 2,`},
		{`{"schema":1,`, `{,"schema":1,`},
		{`{"schema":1,`, `{"schema":1`},
		{`{"schema":1,`, ``},
		{`"aaaaaaaaaaaaaaaa"`, `null`},
		{`"aaaaaaaaaaaaaaaa"`, `"aaaa` + "\n" + `"`},
		{`"aaaaaaaaaaaaaaaa"`, `"aaaa` + "\xff" + `"`},
		{`"aaaaaaaaaaaaaaaa"`, `"aaaa\x"`},
		{`"aaaaaaaaaaaaaaaa"`, `aaaa`},
		{`"rank":1`, `"rank":1,`},
		{`"rank":1`, `"rank":1,"disabled":truth`},
		{`"rank":1`, `"rank":1,"failure":null`},
		{`12:00:00Z`, `25:00:00Z`},
		{`"added_at":"2026`, `"added_at":"\u0032026`},
		{`"used":1`, `"used":1e`},
		{`"used":1`, `"used":1,`},
		{`}]}]`, `},]}]`},
		{`}]}]`, `}]}`},
		{`"pools":{"p"`, `"pools":{p`},
		{`"}}}`, `"}}}}`},
		{`"}}}`, `"}}`},
		{`"}}}`, ``},
	} {
		changed := strings.Replace(good, change[0], change[1], 1)
		if changed == good {
			t.Fatalf("%s is not there", change[0])
		}
		if wantQuickAgrees(t, []byte(changed)) {
			t.Errorf("%s is taken", changed)
		}
	}
}
