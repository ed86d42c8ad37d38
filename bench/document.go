package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// document puts the figures between their markers in performance.md; a part that has
// none there is in the history and among the goals. The machine and the goals are
// written where everything was measured.
func document(path, where string, all []*table, complete bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	bodies := map[string]string{}
	for _, t := range all {
		bodies[t.name] = t.markdown()
	}
	if complete {
		bodies["machine"], bodies["goals"] = where+"\n", goals(all)
	}
	text := string(data)
	for part, body := range bodies {
		begin, end := "<!-- bench:"+part+" -->\n", "<!-- /bench:"+part+" -->"
		before, rest, shown := strings.Cut(text, begin)
		if !shown {
			continue
		}
		_, after, closed := strings.Cut(rest, end)
		if !closed {
			return fmt.Errorf("%s has no end of %s", path, part)
		}
		text = before + begin + body + end + after
	}
	return os.WriteFile(path, []byte(text), 0o644) // #nosec G306 -- a document for everyone
}

// history appends what was measured to a file that a spreadsheet or gnuplot reads: a
// line for each row, ratios empty where it is compared with none.
func history(path, where string, all []*table) error {
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return fmt.Errorf("git describe: %w", err)
	}
	date, machine, _ := strings.Cut(where, ": ")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) // #nosec G302 -- figures for everyone
	if err != nil {
		return err
	}
	w := csv.NewWriter(file)
	if end, err := file.Seek(0, 2); err == nil && end == 0 {
		_ = w.Write([]string{"date", "commit", "machine", "part", "row", "median_ms", "cpu_ms", "page_faults", "of", "times", "low", "high"})
	}
	number := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	for _, t := range all {
		for _, r := range t.rows {
			line := []string{date, strings.TrimSpace(string(commit)), machine, t.name, r.name, number(quantile(r.runs, 0.5, wall)),
				number(quantile(r.runs, 0.5, cpu)), number(quantile(r.runs, 0.5, faults)), r.of, "", "", ""}
			if r.of != "" {
				times := t.ratio(r.name, r.of, wall)
				line = append(line[:9], number(times.value), number(times.low), number(times.high))
			}
			_ = w.Write(line)
		}
	}
	w.Flush()
	return errors.Join(w.Error(), file.Close())
}
