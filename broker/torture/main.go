// Command torture says what is done to authferry, by number, and what comes of
// it. The experiments are tests, here and in the packages that they are about;
// scripts/torture runs them and has this program print the outcome:
//
//	torture -tests               the tests, a package and a pattern on each line
//	go test -json … | torture    the table, with a verdict for each number, and
//	                             the figures that the tests logged
//
// It exits with 1 if a row has failed, was skipped or did not run.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	list := flag.Bool("tests", false, "print which tests the table is about")
	flag.Parse()
	if *list {
		printTests(os.Stdout)
		return
	}
	outcomes, figures, err := read(os.Stdin)
	good := printTable(os.Stdout, outcomes)
	fmt.Println()
	for _, line := range figures {
		fmt.Println(line)
	}
	if err == nil && !good {
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

const module = "github.com/authferry/authferry/"

// test is the name of one, or of its subtests whose names begin so.
type test struct{ dir, name, sub string }

// parse reads "broker TestKillPoints/K2".
func parse(s string) test {
	dir, rest, _ := strings.Cut(s, " ")
	name, sub, _ := strings.Cut(rest, "/")
	return test{dir, name, sub}
}

// matches reports that a result in the form of `go test -json` is about t.
func (t test) matches(dir, name string) bool {
	parts := strings.Split(name, "/")
	if t.dir != dir || t.name != parts[0] {
		return false
	}
	return t.sub == "" && len(parts) == 1 ||
		t.sub != "" && slices.ContainsFunc(parts[1:], func(p string) bool { return p == t.sub || strings.HasPrefix(p, t.sub+"_") })
}

// printTests prints a package and a pattern for its tests on each line.
func printTests(w io.Writer) {
	names := map[string]map[string]bool{}
	for _, r := range table {
		for _, s := range r.tests {
			t := parse(s)
			if names[t.dir] == nil {
				names[t.dir] = map[string]bool{}
			}
			names[t.dir][t.name] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(w, "./%s ^(%s)$\n", dir, strings.Join(slices.Sorted(maps.Keys(names[dir])), "|"))
	}
}

// outcome is how one test ended: "pass", "fail" or "skip".
type outcome struct{ dir, name, end string }

// measured are the tests whose log is worth reading when they pass.
var measured = regexp.MustCompile(`^(TestKillAtEverySystemCall|TestKillAtEverySystemCallOn(Keyring|SecretService)|TestRandomSchedules|TestWindow|TestKilledCallers|TestStampede|TestRealKeyring)(/|$)`)

var logged = regexp.MustCompile(`^ *[a-z_]+_test\.go:[0-9]+: (.*)\n$`)

func read(r io.Reader) (all []outcome, figures []string, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		if m := logged.FindStringSubmatch(e.Output); m != nil && measured.MatchString(e.Test) {
			figures = append(figures, e.Test+": "+m[1])
		}
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			all = append(all, outcome{strings.TrimPrefix(e.Package, module), e.Test, e.Action})
		}
	}
	return all, figures, lines.Err()
}

// verdict of a row: "ok" only if each of its tests ran and passed.
func (r row) verdict(outcomes []outcome) string {
	said := "ok"
	for _, s := range r.tests {
		t, ran := parse(s), 0
		for _, o := range outcomes {
			if !t.matches(o.dir, o.name) {
				continue
			}
			ran++
			switch o.end {
			case "fail":
				return "FAILED " + s
			case "skip":
				said = "skipped " + s
			}
		}
		if ran == 0 {
			said = "not run " + s
		}
	}
	return said
}

func printTable(w io.Writer, outcomes []outcome) (allGood bool) {
	allGood = true
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\twhat is done\twhat the caller sees\ttokens sent\tlogins lost\tverdict")
	for _, r := range table {
		v := r.verdict(outcomes)
		allGood = allGood && v == "ok"
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.number, r.done, r.sees, r.sent, r.lost, v)
	}
	_ = t.Flush()
	return allGood
}
