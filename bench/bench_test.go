package main

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made is a table whose runs are known: a row of 100 to 299 ms, and one of half that.
func made(name string) *table {
	t := &table{name: name, title: "Title of " + name, text: "Text of " + name + "."}
	t.add(row{name: "whole", of: "half"}, row{name: "half"})
	for i := range 200 {
		whole := run{wall: time.Duration(100+i*73%200) * time.Millisecond}
		t.rows[0].runs = append(t.rows[0].runs, whole)
		t.rows[1].runs = append(t.rows[1].runs, run{wall: whole.wall / 2})
	}
	return t
}

// An interval is as wide as the runs differ from round to round.
func TestEstimate(t *testing.T) {
	tab := made("")
	if e := tab.estimate(func(q quantiles) float64 { return q("whole", 0.5, wall) }); e.value != 200 || e.low > 195 || e.low < 150 || e.high < 205 || e.high > 250 {
		t.Errorf("the median of 100 to 299 ms: %+v", e)
	}
	if e := tab.ratio("whole", "half", wall); e != exactly(2) {
		t.Errorf("a row and its half, round by round: %+v", e)
	}
	for q, want := range map[float64]float64{0: 100, 0.95: 290, 1: 299} {
		if got := quantile(tab.rows[0].runs, q, wall); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}

// A goal that the interval holds isn't judged.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		is        string
		low, high float64
		want      string
	}{
		{"≤", 1, 2, "met"}, {"≤", 1, 2.1, "can't tell"}, {"≤", 2.1, 3, "missed"},
		{"≥", 2, 3, "met"}, {"≥", 1.9, 3, "can't tell"}, {"≥", 1, 1.9, "missed"},
	} {
		g := goal{is: test.is, aim: 2, found: estimate{test.low, test.low, test.high}}
		if got := g.verdict(); got != test.want {
			t.Errorf("%s 2, between %v and %v: %s, want %s", test.is, test.low, test.high, got, test.want)
		}
	}
}

// What has its place in the document is written there, and what stands around it stays;
// each run has its lines in the history.
func TestDocument(t *testing.T) {
	before, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	var all []*table
	wanted := []string{"A machine.\n", "## What was tried"}
	for _, p := range parts {
		tab := made(p.name)
		tab.goal("goal of "+p.name, "≤", 2, "×", exactly(2))
		all = append(all, tab)
		wanted = append(wanted, "| goal of "+p.name+" ")
		if bytes.Contains(before, []byte("<!-- bench:"+p.name+" -->")) {
			wanted = append(wanted, tab.text)
		}
	}
	if err := document(path, "A machine.", all, true); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range wanted {
		if !bytes.Contains(written, []byte(want)) {
			t.Errorf("%q is not in it", want)
		}
	}
	if err := os.WriteFile(path, []byte("<!-- bench:hit -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := document(path, "", []*table{made("hit")}, false); err == nil {
		t.Error("a place without an end is accepted")
	}

	path = filepath.Join(t.TempDir(), "history.csv")
	for range 2 {
		if err := history(path, "2026-01-02: a machine, of mine", all); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || len(lines) != 1+2*2*len(parts) {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if got := strings.Join(lines[1][2:], ";"); got != "a machine, of mine;hit;whole;200.000;0.000;0.000;half;2.000;2.000;2.000" {
		t.Errorf("a line is %s", got)
	}
}
