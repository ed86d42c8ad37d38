package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build puts the programs that are run into dir, built as the released ones are.
func build(dir string) error {
	idle := filepath.Join(dir, "idle.go")
	if err := importsOf("./cmd/authferry", idle); err != nil {
		return err
	}
	for _, p := range []struct {
		out, in string
		args    []string
	}{
		{"authferry", "..", []string{"./cmd/authferry"}},
		{"authferry-share", "..", []string{"./cmd/authferry-share"}},
		{"authferry-stripped", "..", []string{"-ldflags=-s -w", "./cmd/authferry"}},
		{"idle", "..", []string{idle}},
		{"bare", ".", []string{"./bare"}},
		{"hello", ".", []string{"./hello"}},
		{"peak", ".", []string{"./peak"}},
		{"reverse", ".", []string{"./reverse"}},
		{"pump", ".", []string{"./pump"}},
	} {
		if err := compile(p.in, filepath.Join(dir, p.out), p.args...); err != nil {
			return err
		}
	}
	return nil
}

// compile has the kernel forget what was written: a file just written is kept in
// memory in larger pieces than one read from a disk, as a user's is, and each start of
// it takes a fifth fewer page faults.
func compile(in, out string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-C", in, "-trimpath", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return exec.CommandContext(ctx, "dd", "of="+out, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none").Run()
}

// importsOf writes a program that imports what another does, and ends at once.
func importsOf(pkg, file string) error {
	list, err := exec.CommandContext(ctx, "go", "list", "-C", "..", "-f", `{{join .Imports "\n"}}`, pkg).Output()
	var source bytes.Buffer
	source.WriteString("package main\n\nimport (\n")
	for path := range strings.FieldsSeq(string(list)) {
		fmt.Fprintf(&source, "\t_ %q\n", path)
	}
	source.WriteString(")\n\nfunc main() {}\n")
	return errors.Join(err, os.WriteFile(file, source.Bytes(), 0o600))
}

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
