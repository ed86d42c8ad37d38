package rawtext_test

import (
	"strings"
	"testing"

	"github.com/authferry/authferry/rawtext"
)

func TestKeys(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "a = 1\n": 1, "[t]\na.b = 1": 2, "[[t]]": 2, "a = {b = 1, c = [1]}": 4, "# ==== [x]\n \t# a = 1\na = 1 # = 2": 2,
	} {
		if got := rawtext.Keys([]byte(text)); got != want {
			t.Errorf("%q has %d, want %d", text, got, want)
		}
	}
}

func TestDeeper(t *testing.T) {
	for text, depth := range map[string]int{
		"": 0, "1": 0, "{}": 1, `{"a":[{"b":[]}], "c":{}}`: 4, `["[[[", "\"[[[", "\\"]`: 1, "[ // [[[\n[ /* [[[ */ [ /**/ ]]]": 3,
		"[/": 1, "[//": 1, "[/*": 1, `["`: 1, `["\`: 1, "]]][[": 0, strings.Repeat("[", 100): 100,
	} {
		if rawtext.Deeper([]byte(text), depth) || depth > 0 && !rawtext.Deeper([]byte(text), depth-1) {
			t.Errorf("%q is not %d deep", text, depth)
		}
	}
}
