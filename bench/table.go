package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// run is one run of something.
type run struct {
	wall, cpu time.Duration
	faults    int64 // pages that were not there yet
}

func wall(r run) float64   { return float64(r.wall) / float64(time.Millisecond) }
func cpu(r run) float64    { return float64(r.cpu) / float64(time.Millisecond) }
func faults(r run) float64 { return float64(r.faults) }

// row is something that is run many times.
type row struct {
	name, of string // of: the row that it is compared with; empty: none
	// sample is one run. What it does before it starts its clock isn't measured.
	sample func() (run, error)
	runs   []run
}

// against is the row, compared with another.
func (r row) against(of string) row {
	r.of = of
	return r
}

// table is what a part finds out.
type table struct {
	name, title, text string
	rows              []row
	goals             []goal
}

func (t *table) add(rows ...row) { t.rows = append(t.rows, rows...) }

// few rounds are the least that say anything.
const few = 3

// alternate runs the rows that haven't run yet: so many rounds, or as many of them as
// there is time for. Each round has an order of its
// own: who comes after whom matters to a keychain's daemon.
func (b *bench) alternate(t *table, rounds int, limit time.Duration) error {
	if b.quick {
		rounds, limit = max(rounds/10, few), limit/10
	}
	due := []*row{}
	for i := range t.rows {
		if t.rows[i].runs == nil {
			due = append(due, &t.rows[i])
		}
	}
	warm := min(rounds/10, 5)
	for i, begun := 0, time.Now(); i < rounds+warm && (i < warm+few || time.Since(begun) < limit); i++ {
		for _, n := range rand.Perm(len(due)) { // #nosec G404 -- an order, no secret
			r, err := due[n].sample()
			if err != nil {
				return fmt.Errorf("%s: %w", due[n].name, err)
			}
			if i >= warm {
				due[n].runs = append(due[n].runs, r)
			}
		}
	}
	return nil
}

// quantiles answers with a quantile of a row's runs.
type quantiles func(row string, q float64, of func(run) float64) float64

// estimate is a figure, and the interval that the true one is in 19 times of 20.
type estimate struct{ value, low, high float64 }

func exactly(v float64) estimate { return estimate{v, v, v} }

func (e estimate) String() string {
	return fmt.Sprintf("%.2f × (%.2f–%.2f)", e.value, e.low, e.high)
}

// estimate is a figure that is computed of the rows' runs. Its interval is what it
// would have been with other rounds of the same kind: a bootstrap, over whole
// rounds, since a busy moment slows all rows of one.
func (t *table) estimate(figure func(quantiles) float64) estimate {
	const repeats = 500
	rounds := 0
	for _, r := range t.rows {
		rounds = max(rounds, len(r.runs))
	}
	picked := make([]int, rounds)
	var others []float64
	for range repeats {
		for i := range picked {
			picked[i] = rand.IntN(rounds) // #nosec G404 -- a sample, no secret
		}
		others = append(others, figure(func(name string, q float64, of func(run) float64) float64 {
			runs := t.row(name).runs
			again := make([]run, len(runs))
			for i := range again {
				again[i] = runs[picked[i]%len(runs)]
			}
			return quantile(again, q, of)
		}))
	}
	slices.Sort(others)
	measured := figure(func(name string, q float64, of func(run) float64) float64 { return quantile(t.row(name).runs, q, of) })
	return estimate{measured, others[repeats/40], others[repeats-1-repeats/40]}
}

// quantile is the least value that the share q of the runs does not exceed.
func quantile(runs []run, q float64, of func(run) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}

func (t *table) ratio(name, of string, what func(run) float64) estimate {
	return t.estimate(func(q quantiles) float64 { return q(name, 0.5, what) / q(of, 0.5, what) })
}

func (t *table) row(name string) *row {
	i := slices.IndexFunc(t.rows, func(r row) bool { return r.name == name })
	return &t.rows[i]
}

// goal is a figure that was aimed at: at most (≤), or at least (≥).
type goal struct {
	what, is string
	aim      float64
	unit     string
	found    estimate
}

func (t *table) goal(what, is string, aim float64, unit string, found estimate) {
	t.goals = append(t.goals, goal{what, is, aim, unit, found})
}

func (g goal) verdict() string {
	best, worst := g.found.low, g.found.high
	if g.is == "≥" {
		best, worst = -worst, -best
		g.aim = -g.aim
	}
	switch {
	case worst <= g.aim:
		return "met"
	case best > g.aim:
		return "missed"
	}
	return "can't tell"
}

// goals is the table of all goals. One whose interval holds the aim is not judged.
func goals(all []*table) string {
	cells := [][]string{{"goal", "aim", "measured", "between", ""}}
	for _, t := range all {
		for _, g := range t.goals {
			between := figure(g.found.low) + "–" + figure(g.found.high)
			cells = append(cells, []string{g.what, g.is + " " + figure(g.aim) + " " + g.unit, figure(g.found.value) + " " + g.unit, between, g.verdict()})
		}
	}
	return markdown(cells)
}

// markdown is the text, and the table below it.
func (t *table) markdown() string {
	cells := [][]string{{"", "median ms", "p95 ms", "CPU ms", "page faults", "of", "times"}}
	for _, r := range t.rows {
		line := []string{r.name, figure(quantile(r.runs, 0.5, wall)), figure(quantile(r.runs, 0.95, wall)),
			figure(quantile(r.runs, 0.5, cpu)), figure(quantile(r.runs, 0.5, faults)), r.of, ""}
		if r.of != "" {
			line[6] = t.ratio(r.name, r.of, wall).String()
		}
		cells = append(cells, line)
	}
	return t.text + "\n\n" + markdown(cells)
}

// markdown is a table that can be read as it is, too.
func markdown(cells [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	for i, line := range cells {
		fmt.Fprintln(w, "| "+strings.Join(line, "\t| ")+"\t|")
		if i == 0 {
			fmt.Fprintln(w, strings.Repeat("| ---\t", len(line))+"|")
		}
	}
	_ = w.Flush()
	return b.String()
}

// figure has the digits that are worth reading.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v == 0:
		return "" // not known of this row
	}
	return fmt.Sprintf("%.2f", v)
}
