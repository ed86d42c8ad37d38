// Command torture says what is done to authferry, by number, and what comes of
// it. The experiments are tests, here and in the packages that they are about;
// scripts/torture runs them and has this program print the outcome:
//
//	torture -tests               the tests, a package and a pattern on each line
//	go test -json … | torture    the table, with a verdict for each number; kill
//	                             points by kind of server; and the figures that
//	                             the tests logged
//
// It exits with 1 if a row has failed, was skipped or did not run.
package main

import (
	"bufio"
	"cmp"
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
	outcomes, figures, cells, err := read(os.Stdin)
	good := printTable(os.Stdout, outcomes)
	fmt.Println()
	printMatrix(os.Stdout, cells)
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
var measured = regexp.MustCompile(`^(TestKillAtEverySystemCall|TestKillAtEverySystemCallOnKeyring|TestKillAtSystemCallsOnSecretService|TestRandomSchedules|TestWindow|TestKilledCallers|TestStampede|TestRealKeyring)(/|$)`)

var logged = regexp.MustCompile(`^ *[a-z_]+_test\.go:[0-9]+: (.*)\n$`)

// cell is a kill point at a kind of server.
type cell struct{ point, server string }

// atServers finds the tests of cells, whose logs say what came of it.
var (
	atServers = regexp.MustCompile(`^TestKillPoints/([a-z-]+)/(K\d+)$|^TestKilledWhileTheServerAnswers/([a-z-]+)_(K\d+)$`)
	cameOfIt  = regexp.MustCompile(`_test\.go:\d+: came of it: (.*)\n$`)
)

func cellOf(test string) (c cell, ok bool) {
	m := atServers.FindStringSubmatch(test)
	if len(m) == 0 {
		return c, false
	}
	return cell{point: m[2] + m[4], server: m[1] + m[3]}, true
}

func read(r io.Reader) (all []outcome, figures []string, cells map[cell]string, err error) {
	cells = map[cell]string{}
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
		if c, ok := cellOf(e.Test); ok {
			if m := cameOfIt.FindStringSubmatch(e.Output); m != nil {
				cells[c] = m[1]
			} else if e.Action == "fail" {
				cells[c] = "FAILED"
			}
		}
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			all = append(all, outcome{strings.TrimPrefix(e.Package, module), e.Test, e.Action})
		}
	}
	return all, figures, cells, lines.Err()
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

// printMatrix prints the result of a kill at each point of a rotation, at each kind
// of server.
func printMatrix(w io.Writer, cells map[cell]string) {
	points, servers := map[string]bool{}, map[string]bool{}
	for c := range cells {
		points[c.point], servers[c.server] = true, true
	}
	columns := slices.Sorted(maps.Keys(servers))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "rotator killed at\t"+strings.Join(columns, "\t"))
	for _, point := range slices.SortedFunc(maps.Keys(points), func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) {
		row := []string{point}
		for _, server := range columns {
			row = append(row, cmp.Or(cells[cell{point, server}], "-"))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush()
}
