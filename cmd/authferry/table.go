package main

import (
	"io"
	"strings"
	"text/tabwriter"
)

// table is aligned text; every cell is made printable.
type table struct{ rows [][]string }

func newTable(head ...string) *table {
	t := &table{}
	if len(head) > 0 {
		t.rows = append(t.rows, head)
	}
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		for i, c := range row {
			row[i] = printable(c)
		}
		if _, err := io.WriteString(tw, strings.TrimRight(strings.Join(row, "\t"), "\t")+"\n"); err != nil {
			return err
		}
	}
	return tw.Flush()
}
