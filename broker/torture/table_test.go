package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Every number has its row, and every row names tests that exist.
func TestTable(t *testing.T) {
	rows := map[string]row{}
	for _, r := range table {
		if _, twice := rows[r.number]; twice {
			t.Errorf("%s has two rows", r.number)
		}
		rows[r.number] = r
		if r.done == "" || r.sees == "" || r.sent == "" || r.lost == "" || len(r.tests) == 0 {
			t.Errorf("the row of %s has a gap", r.number)
		}
	}
	for letter, last := range map[string]int{"I": 11, "K": 21, "S": 28, "C": 18, "D": 15, "T": 7, "P": 11} {
		for n := 1; n <= last; n++ {
			number := fmt.Sprint(letter, n)
			if _, ok := rows[number]; !ok {
				t.Errorf("%s has no row", number)
			}
			delete(rows, number)
		}
	}
	for number := range rows {
		t.Errorf("%s is no number of the list", number)
	}
	sources := map[string]string{}
	for _, r := range table {
		for _, s := range r.tests {
			named := parse(s)
			if sources[named.dir] == "" {
				sources[named.dir] = sourceOf(t, named.dir)
			}
			source := sources[named.dir]
			if !regexp.MustCompile(`(?m)^func ` + named.name + `\(`).MatchString(source) {
				t.Errorf("%s: there is no test %s in %s", r.number, named.name, named.dir)
			}
			for word := range strings.SplitSeq(named.sub, "_") {
				if !strings.Contains(source, strings.TrimSuffix(word, ":")) {
					t.Errorf("%s: %s has no subtest %s", r.number, named.name, named.sub)
				}
			}
		}
	}
}

// sourceOf is everything that names the tests of a folder.
func sourceOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*.go", "testdata/*"} {
		paths, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), pattern))
		testenv.Must(t, err)
		for _, path := range paths {
			all.WriteString(filepath.Base(path) + "\n")
			if strings.HasSuffix(path, ".go") {
				data, err := os.ReadFile(path)
				testenv.Must(t, err)
				all.Write(data)
			}
		}
	}
	// The servers' kinds name subtests too.
	data, err := os.ReadFile(filepath.Join("..", "brokertest", "rotation.go"))
	testenv.Must(t, err)
	all.Write(data)
	return all.String()
}

func TestVerdict(t *testing.T) {
	r := row{tests: []string{"broker TestA", "broker TestB/S10"}}
	pass := []outcome{{"broker", "TestA", "pass"}, {"broker", "TestB", "pass"}, {"broker", "TestB/S10_429", "pass"}, {"broker", "TestB/S1", "fail"}}
	for want, more := range map[string][]outcome{
		"ok":                      nil,
		"FAILED broker TestB/S10": {{"broker", "TestB/x/S10", "fail"}},
		"skipped broker TestA":    {{"broker", "TestA", "skip"}},
	} {
		if got := r.verdict(append(slices.Clip(pass), more...)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := r.verdict(pass[:2]); got != "not run broker TestB/S10" {
		t.Errorf("%q", got)
	}
}

// The tests of kill points say what comes of them, server by server.
func TestMatrix(t *testing.T) {
	_, _, cells, err := read(strings.NewReader(`
{"Action":"output","Test":"TestKillPoints/strict/K11","Output":"    rotate_test.go:151: came of it: a login\n"}
{"Action":"output","Test":"TestKillPoints/strict/K2","Output":"    rotate_test.go:151: came of it: a token, 1 sent\n"}
{"Action":"fail","Test":"TestKilledWhileTheServerAnswers/grace-new_K9"}
`))
	testenv.Must(t, err)
	var b strings.Builder
	printMatrix(&b, cells)
	if want := `rotator killed at  grace-new  strict
K2                 -          a token, 1 sent
K9                 FAILED     -
K11                -          a login
`; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
