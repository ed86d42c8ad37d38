package main

import (
	"bytes"
	"fmt"
	"html"
)

// bar is one of a plot's.
type bar struct {
	label string
	value float64
	whisk float64 // where its whisker ends; 0: it has none
	mine  bool
}

// chart draws horizontal bars that are readable on light and on dark ground.
func chart(title, unit string, bars []bar) []byte {
	const (
		width, left, right = 760, 260, 90
		top, step, thick   = 56, 28, 16
	)
	most := 0.0
	for _, b := range bars {
		most = max(most, b.value, b.whisk)
	}
	x := func(v float64) float64 { return left + v/most*(width-left-right) }
	height := top + step*len(bars) + 12
	var s bytes.Buffer
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", width, height, width, height, html.EscapeString(title))
	s.WriteString(`<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.unit { fill: #57606a }
.mine { fill: #0f766e }
.peer { fill: #94a3b8 }
.whisker { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.unit { fill: #9198a1 }
.mine { fill: #2dd4bf }
.peer { fill: #64748b }
.whisker { stroke: #9198a1 }
}
</style>
`)
	fmt.Fprintf(&s, `<text class="title" x="12" y="22">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&s, `<text class="unit" x="12" y="40">%s</text>`+"\n", html.EscapeString(unit))
	for i, b := range bars {
		y := top + step*i
		middle := float64(y) + thick/2.0
		class := "peer"
		if b.mine {
			class = "mine"
		}
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-10, y+13, html.EscapeString(b.label))
		fmt.Fprintf(&s, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, left, y, x(b.value)-left, thick)
		if b.whisk > 0 {
			fmt.Fprintf(&s, `<path class="whisker" d="M%.1f %.1fH%.1fM%.1f %dv%d"/>`+"\n", x(b.value), middle, x(b.whisk), x(b.whisk), y+4, thick-8)
		}
		digits := f0(b.value)
		if most < 100 {
			digits = f1(b.value)
		}
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n", x(max(b.value, b.whisk))+8, y+13, digits)
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}
