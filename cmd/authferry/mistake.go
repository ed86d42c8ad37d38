package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

// mistake rewrites kong's error about a command line.
func (t *terminal) mistake(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	e := &fault.Error{Code: fault.Usage, Message: err.Error(), Next: []fault.Remedy{{Do: help}}}
	pe, ok := errors.AsType[*kong.ParseError](err)
	if !ok || pe.Context == nil {
		return e
	}
	if path := pe.Context.Command(); path != "" {
		e.Next[0].Name = commandWords(pe.Context)
	}
	// An unexpected argument may be a key that was meant for stdin.
	e.Message, _, _ = strings.Cut(e.Message, " but got ")
	word, stray := strings.CutPrefix(e.Message, "unexpected argument ")
	if n := pe.Context.Selected(); n != nil && n.Leaf() && stray {
		t.strayWord(e, n, pe.Context, word)
	}
	return e
}

// strayWord says what an unexpected word may have meant. The word is shown only if it is
// the name of an account or a pool.
func (t *terminal) strayWord(e *fault.Error, n *kong.Node, c *kong.Context, word string) {
	e.Message = "unexpected argument, not shown as it may be a secret"
	operands := map[string]string{}
	for _, p := range c.Path {
		if p.Positional != nil {
			operands[p.Positional.Name] = strings.Join(texts(c.Value(p)), " ")
		}
	}
	provider, account := operands["provider"], operands["account"]
	switch {
	case provider == "" && account == "":
		return
	case account == "" && flagOf(n, "--account") == nil:
		if flagOf(n, "--label") != nil {
			e.Message += "; a label is given with --label"
		}
		return
	}
	dir, err := folder.DefaultDir()
	if err != nil {
		return
	}
	idx, err := folder.New(folder.Options{Dir: dir}).ReadOrEmpty()
	if err != nil {
		return
	}
	if pool.Called(idx, word) != nil {
		e.Message = "unexpected argument " + fault.Quote(word)
	}
	var next []fault.Remedy
	if account != "" {
		e.Message += "; an account is named by one word"
		if a, err := pool.FindAccount(idx, word, account); err == nil {
			next = []fault.Remedy{{Do: fault.Instead, Account: a.Provider + "/" + a.Label}}
		}
	} else {
		e.Message += "; an account is named with --account, a pool with --pool"
		next = pool.Called(idx, provider, word)
	}
	if next == nil && len(idx.Accounts) > 0 {
		e.Message += "; there are: " + pool.Labels(idx, "")
	}
	e.Next = append(next, e.Next...)
	if at := slices.Index(t.hints.args, word); at > 0 {
		t.hints = newHints(slices.Delete(slices.Clone(t.hints.args), at, at+1), t.hints.child)
	}
}

// commandWords is the recognised command, without its arguments.
func commandWords(c *kong.Context) (words string) {
	for _, p := range c.Path {
		if p.Command != nil && !p.Command.Hidden {
			if words != "" {
				words += " "
			}
			words += p.Command.Name
		}
	}
	return words
}
