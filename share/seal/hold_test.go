package seal

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// Any machine may say what it knows of an account's limits, and only for that account. What
// doesn't have its form is as good as nothing.
func TestHolds(t *testing.T) {
	ring := newRing(t)
	h := Holds{Holds: []Hold{{ID: "a", Scope: canary, Until: time.Unix(9, 0).UTC(), Left: time.Hour, Proven: true}}, Usage: &Usage{ID: "b", Windows: []Window{{Window: "5h", Used: 0.5}}}, Probe: "c"}
	value, err := h.Seal(ring.For(Consumer, false), onePool, oneAccount)
	testenv.Must(t, err)
	if bytes.Contains(value, []byte(canary)) {
		t.Errorf("in the open: %s", value)
	}
	got, err := OpenHolds(ring, onePool, oneAccount, value)
	testenv.Must(t, err)
	if !reflect.DeepEqual(got, h) {
		t.Errorf("%+v", got)
	}
	if _, err := OpenHolds(ring, onePool, "acc_bbbbbbbbbbbbbbbb", value); !errors.Is(err, ErrForged) {
		t.Errorf("another account's: %v", err)
	}
	for name, h := range map[string]Holds{
		"no id": {Holds: []Hold{{Scope: "*"}}}, "an id twice": {Holds: []Hold{{ID: "a", Scope: "*"}, {ID: "a"}}}, "a scope twice": {Holds: []Hold{{ID: "a"}, {ID: "b"}}},
		"too many": {Holds: make([]Hold, maxEntries+1)}, "a nameless usage": {Usage: &Usage{}}, "a long name": {Probe: strings.Repeat("x", 65)},
	} {
		value, err := h.Seal(ring, onePool, oneAccount)
		testenv.Must(t, err)
		if _, err := OpenHolds(ring, onePool, oneAccount, value); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
