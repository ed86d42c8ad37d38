package main

import (
	"io"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// pasted says what is wrong with a hint, as a shell and the grammar see it.
func pasted(line string) (complaint string) {
	if strings.HasPrefix(line, "$env:") { // for PowerShell
		return ""
	}
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "hint")
	if err != nil {
		return err.Error()
	}
	if len(f.Stmts) != 1 {
		return "it is not one command"
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok {
			var words []string
			for _, w := range call.Args {
				words = append(words, literal(w))
			}
			if i := slices.Index(words, "authferry"); i >= 0 {
				complaint = refusesWhole(words[i+1:])
			}
		}
		return true
	})
	return complaint
}

// acceptable says what is wrong with the words of a hint.
func acceptable(words []string) string {
	i := slices.Index(words, "authferry")
	if i < 0 {
		return ""
	}
	return refusesWhole(words[i+1:])
}

// refusesWhole is refuses for a command line that has to be whole.
func refusesWhole(args []string) (complaint string) {
	defer func() {
		if _, ok := recover().(exit); ok { // --help
			complaint = ""
		}
	}()
	own, _ := cutCommand(args)
	if _, _, err := parse(own, streams{out: io.Discard, err: io.Discard}); err != nil {
		return err.Error()
	}
	return ""
}

// printableLines is printable for each line.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
