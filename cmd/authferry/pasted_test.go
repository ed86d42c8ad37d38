package main

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/alecthomas/kong"
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
				complaint = refuses(words[i+1:])
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
	return refuses(words[i+1:])
}

// wholeGrammar is made once, since that takes much longer than to parse.
var wholeGrammar = struct {
	sync.Mutex
	parser func() (*kong.Kong, error)
}{parser: sync.OnceValues(func() (*kong.Kong, error) {
	return newParser(new(grammar), streams{out: io.Discard, err: io.Discard})
})}

// refuses says what authferry has against a command line, without running it.
func refuses(args []string) (complaint string) {
	wholeGrammar.Lock()
	defer wholeGrammar.Unlock()
	defer func() {
		if _, ok := recover().(exit); ok { // --help
			complaint = ""
		}
	}()
	k, err := wholeGrammar.parser()
	if err == nil {
		unsaid(k)
		own, _ := cutCommand(args)
		var c *kong.Context
		if c, err = k.Parse(own); err == nil {
			err = noEmptyFlag(c)
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// unsaid has a grammar forget what it parsed before, which it would take for a part of
// what it parses next.
func unsaid(k *kong.Kong) {
	_ = kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		switch n := node.(type) {
		case *kong.Node:
			n.Active = false
		case *kong.Value:
			n.Set, n.Active = false, false
		}
		return next(nil)
	})
}

// refusesPart is refuses for what speaks of a command, maybe without what it takes.
func refusesPart(args []string) string {
	complaint := refuses(args)
	if strings.HasPrefix(complaint, "expected ") || strings.HasPrefix(complaint, "missing flags: ") {
		return ""
	}
	return complaint
}

// printableLines is printable for each line.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
