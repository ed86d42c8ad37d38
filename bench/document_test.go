package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every part has its place in the document, and what stands around it stays.
func TestDocument(t *testing.T) {
	const name = "performance.md"
	before, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), before, 0o600); err != nil {
		t.Fatal(err)
	}
	var all []result
	for _, p := range parts {
		r := result{name: p.name, title: p.title, text: "Text of " + p.name + ".", header: []string{"program", "ms"}, bars: []bar{{"<one> & \"two\"", 3, 4, true}, {"none", 0, 0, false}}}
		r.add("authferry", "1.0")
		r.atMost("goal of "+p.name, 1, 1, "×").beside = "as others"
		r.atLeast("other goal", 2, 1, "")
		all = append(all, r)
	}
	var written [2]string
	for i := range written {
		if err := document(dir, all, true); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		written[i] = string(data)
	}
	if written[0] != written[1] {
		t.Error("writing it again changes it")
	}
	for _, p := range parts {
		for _, want := range []string{"Text of " + p.name + ".", "](performance-" + p.name + ".svg)", "goal of " + p.name + " | at most 1.00 × | 1.00 × | met | as others |"} {
			if !strings.Contains(written[0], want) {
				t.Errorf("%q is not in it", want)
			}
		}
		plot, err := os.ReadFile(filepath.Join(dir, "performance-"+p.name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		decoder := xml.NewDecoder(bytes.NewReader(plot))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("the plot of %s is not XML: %v", p.name, err)
			}
		}
	}
	if prose := "## What was tried"; !strings.Contains(written[0], prose) {
		t.Errorf("%q is gone", prose)
	}
	if err := document(dir, []result{{name: "unknown", header: []string{"program"}}}, false); err == nil {
		t.Error("a part without a place is accepted")
	}
}

func TestQuantile(t *testing.T) {
	var runs []run
	for _, ms := range []int64{5, 1, 4, 2, 3} {
		runs = append(runs, run{faults: ms})
	}
	for q, want := range map[float64]int64{0: 1, 0.5: 3, 0.95: 5, 1: 5} {
		if got := quantile(runs, q, faults); got != want {
			t.Errorf("quantile %v = %d, want %d", q, got, want)
		}
	}
}
