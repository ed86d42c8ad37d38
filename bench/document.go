package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// document puts the figures between their markers in performance.md, and the
// plots beside it. The machine and the goals are written where everything was
// measured.
func document(dir string, all []result, complete bool) error {
	path := filepath.Join(dir, "performance.md")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(data)
	var goals []goal
	for _, r := range all {
		goals = append(goals, r.goals...)
		body := r.text + "\n\n" + markdown(r.header, r.rows)
		if len(r.bars) > 0 {
			plot := "performance-" + r.name + ".svg"
			if err := os.WriteFile(filepath.Join(dir, plot), chart(r.title, r.unit, r.bars), 0o644); err != nil { // #nosec G306 -- a picture for everyone
				return err
			}
			body += fmt.Sprintf("\n![%s](%s)\n", r.title, plot)
		}
		if text, err = between(text, r.name, body); err != nil {
			return err
		}
	}
	if complete {
		var rows [][]string
		for _, g := range goals {
			rows = append(rows, g.row())
		}
		if text, err = between(text, "machine", machine()+".\n"); err != nil {
			return err
		}
		if text, err = between(text, "goals", markdown(goalHeader, rows)); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(text), 0o644) // #nosec G306 -- a document for everyone
}

// between replaces what stands between the markers of a part.
func between(text, part, body string) (string, error) {
	begin, end := "<!-- bench:"+part+" -->\n", "<!-- /bench:"+part+" -->"
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("docs/performance.md has no markers of %s", part)
	}
	return before + begin + body + end + after, nil
}

func markdown(header []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(header)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
