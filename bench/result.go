package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what a part found out.
type result struct {
	name, title string
	text        string
	header      []string
	rows        [][]string
	bars        []bar // a plot, where there are any
	unit        string
	goals       []goal
}

// goal is a figure that was aimed at.
type goal struct {
	what, aim, found string
	beside           string // what others had in the same run, to judge it by
	met              bool
}

func (r *result) add(cells ...string) { r.rows = append(r.rows, cells) }

func (r *result) atMost(what string, aim, found float64, unit string) *goal {
	return r.goal(goal{what: what, aim: "at most " + figure(aim, unit), found: figure(found, unit), met: found <= aim})
}

func (r *result) atLeast(what string, aim, found float64, unit string) *goal {
	return r.goal(goal{what: what, aim: "at least " + figure(aim, unit), found: figure(found, unit), met: found >= aim})
}

// goal adds g; what it returns is good until the next is added.
func (r *result) goal(g goal) *goal {
	r.goals = append(r.goals, g)
	return &r.goals[len(r.goals)-1]
}

// goalHeader goes with the row of each goal.
var goalHeader = []string{"goal", "aim", "measured", "", "in the same run"}

func (g goal) row() []string { return []string{g.what, g.aim, g.found, g.verdict(), g.beside} }

func figure(v float64, unit string) string {
	switch unit {
	case "×":
		return f2(v) + " ×"
	case "MB":
		return f1(v) + " MB"
	}
	return strings.TrimSpace(f0(v) + " " + unit)
}

func f0(v float64) string { return fmt.Sprintf("%.0f", v) }
func f1(v float64) string { return fmt.Sprintf("%.1f", v) }
func f2(v float64) string { return fmt.Sprintf("%.2f", v) }

func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s (%s)\n%s\n\n", r.title, r.name, r.text)
	printTable(out, append([][]string{r.header}, r.rows...))
}

func printGoals(out io.Writer, all []result) {
	rows := [][]string{}
	for _, r := range all {
		for _, g := range r.goals {
			rows = append(rows, g.row())
		}
	}
	if len(rows) > 0 {
		fmt.Fprint(out, "\nGoals\n\n")
		printTable(out, rows)
	}
}

func (g goal) verdict() string {
	if g.met {
		return "met"
	}
	return "missed"
}

func printTable(out io.Writer, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

// machine says where the figures are from.
func machine() string {
	system := runtime.GOOS
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(release)) {
			if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				system = strings.Trim(strings.TrimSpace(name), `"`)
			}
		}
	}
	load := ""
	if average, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(average))[0] + " at the start"
	}
	keyring := "gnome-keyring"
	if said, err := exec.CommandContext(ctx, "gnome-keyring-daemon", "--version").Output(); err == nil {
		keyring = strings.ReplaceAll(strings.SplitN(string(said), "\n", 2)[0], "gnome-keyring-daemon:", "gnome-keyring")
	}
	return fmt.Sprintf("%s: %s, %d processors, %s, %s%s", time.Now().Format(time.DateOnly), system, runtime.NumCPU(), runtime.Version(), keyring, load)
}
