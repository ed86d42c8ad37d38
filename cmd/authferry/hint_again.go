package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker/fault"
)

// typedLine is a command line that was given.
type typedLine struct {
	words    []string
	operands []named
	flags    []named
	child    []string
	node     *kong.Node
	known    []*kong.Flag
}

// named is a flag or an argument with its values; a switch has none.
type named struct {
	name   string
	values []string
}

// given parses the command line that was given; nil: there is none, or it is invalid.
func (h hints) given() (*typedLine, []string) {
	if h.args == nil {
		return nil, nil
	}
	typed := h.typed()
	if typed == nil {
		return nil, nil
	}
	own := *typed
	own.child, own.operands, own.flags = h.child, slices.Clone(own.operands), slices.Clone(own.flags)
	return &own, own.words
}

// typedOf is args as they were parsed; nil: they were refused.
func typedOf(c *kong.Context, err error) *typedLine {
	if err != nil {
		return nil
	}
	s := &typedLine{node: c.Selected(), known: c.Flags()}
	for _, p := range c.Path {
		switch {
		case p.Command != nil && !p.Command.Hidden:
			s.words = append(s.words, p.Command.Name)
		case p.Positional != nil:
			set(&s.operands, p.Positional.Name, texts(p.Positional.Target))
		case p.Flag != nil && !p.Resolved:
			set(&s.flags, p.Flag.Name, texts(p.Flag.Target))
		}
	}
	if s.name() == "authferry report" && !slices.ContainsFunc(s.flags, func(f named) bool { return f.name == "status" }) {
		for i := range s.operands {
			s.operands[i].name = "provider" // of whose account it says nothing
		}
	}
	return s
}

// set replaces the flag or argument of that name, or adds it.
func set(all *[]named, name string, values []string) {
	for i := range *all {
		if (*all)[i].name == name {
			(*all)[i].values = values
			return
		}
	}
	*all = append(*all, named{name, values})
}

// texts is a value as it is typed.
func texts(v reflect.Value) (all []string) {
	v = reflect.Indirect(v)
	switch value := v.Interface().(type) {
	case bool:
		return nil
	case time.Duration:
		text := value.String()
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return []string{text}
	case []string:
		return value
	case map[string]string:
		for k, v := range value {
			all = append(all, k+"="+v)
		}
		slices.Sort(all)
		return all
	}
	return []string{fmt.Sprint(v.Interface())}
}

// name is the command without its flags and arguments.
func (s *typedLine) name() string {
	return strings.Join(append([]string{"authferry"}, s.words...), " ")
}

// argv are its words, without those after its "--".
func (s *typedLine) argv() (argv []string) {
	argv = slices.Clone(s.words)
	var operands, flags []string
	for _, o := range s.operands {
		operands = append(operands, o.values...)
	}
	for _, f := range s.flags {
		if f.values == nil {
			flags = append(flags, "--"+f.name)
		}
		for _, v := range f.values {
			if strings.HasPrefix(v, "-") {
				flags = append(flags, "--"+f.name+"="+v)
			} else {
				flags = append(flags, "--"+f.name, v)
			}
		}
	}
	if slices.ContainsFunc(operands, func(o string) bool { return strings.HasPrefix(o, "-") }) {
		return slices.Concat(argv, flags, []string{"--"}, operands)
	}
	return slices.Concat(argv, operands, flags)
}

// line is the command as it is typed.
func (s *typedLine) line(h hints) string {
	words := append([]string{"authferry"}, s.argv()...)
	if s.child != nil {
		words = slices.Concat(words, []string{"--"}, s.child)
	}
	for i := range words {
		words[i] = h.word(words[i])
	}
	return strings.Join(words, " ")
}

// takes reports whether the command has such a flag.
func (s *typedLine) takes(flag string) bool {
	return slices.ContainsFunc(s.known, func(f *kong.Flag) bool { return f.Name == flag })
}

// again is the command that was given, with what r adds or changes.
func (h hints) again(r fault.Remedy) string {
	own, _ := h.given()
	if own == nil {
		return "authferry status"
	}
	if line := h.changed(own, r); line != "" {
		return line
	}
	return "authferry status"
}

// changed is own with what r adds or changes; empty: it can't be.
func (h hints) changed(own *typedLine, r fault.Remedy) string {
	change := func(flag, value string) bool {
		if !own.takes(flag) {
			return false
		}
		var values []string
		if value != "" {
			values = []string{value}
		}
		set(&own.flags, flag, values)
		return true
	}
	drop := func(flags ...string) {
		own.flags = slices.DeleteFunc(own.flags, func(f named) bool { return slices.Contains(flags, f.name) })
	}
	fits := true
	if r.Account != "" && slices.ContainsFunc(own.operands, func(o named) bool { return o.name == "account" }) {
		set(&own.operands, "account", []string{r.Account})
		r.Account = ""
	}
	for _, f := range []named{{"account", []string{r.Account}}, {"label", []string{r.Label}}, {"pool", []string{r.Pool}}} {
		if f.values[0] != "" {
			fits = change(f.name, f.values[0]) && fits
		}
	}
	switch r.How {
	case fault.APIKey, fault.Token:
		drop("api-key-stdin", "token-stdin", "flow", "client-id")
		if r.How == fault.APIKey {
			drop("expires-in")
		}
		fits = change(string(r.How)+"-stdin", "") && fits
	case fault.Browser, fault.Paste, fault.Device:
		drop("api-key-stdin", "token-stdin", "no-browser")
		fits = change("flow", string(r.How)) && fits
	}
	if r.Name != "" {
		fits = change(r.Name, r.Value) && fits
	}
	if r.Provider != "" {
		at := slices.IndexFunc(own.node.Positional, func(p *kong.Positional) bool { return p.Name == "provider" })
		if fits = at >= 0 && fits; fits {
			set(&own.operands, "provider", []string{r.Provider})
		}
	}
	if fits {
		_, _, err := parse(own.argv(), streams{out: io.Discard, err: io.Discard})
		fits = err == nil // --unbind goes with no --pool, say
	}
	if !fits {
		return ""
	}
	return own.line(h)
}

// instead is the command that was given, with r's account or pool in place of the ones it
// named. It never drops an account or unbinds a directory because of a mistyped name.
func (h hints) instead(r fault.Remedy) string {
	const otherwise = "authferry list"
	own, words := h.given()
	if own == nil || len(words) == 0 || words[0] == "remove" || words[0] == "use" && r.Pool != "" {
		return otherwise
	}
	names := func(n named) bool { return n.name == "account" || n.name == "renew" }
	at := slices.IndexFunc(own.flags, names)
	switch {
	case r.Account == "":
		own.flags, own.operands = slices.DeleteFunc(own.flags, names), slices.DeleteFunc(own.operands, names)
	case at >= 0:
		own.flags[at].values, r.Account = []string{r.Account}, ""
	case !slices.ContainsFunc(own.operands, names): // it named a pool
		own.flags = slices.DeleteFunc(own.flags, func(n named) bool { return n.name == "pool" })
	}
	if line := h.changed(own, r); line != "" {
		return noted(line, "did you mean this?")
	}
	return otherwise
}

// wait is the command that was given, with waiting if it can.
func (h hints) wait(_ fault.Remedy) string {
	own, _ := h.given()
	if own == nil {
		return "authferry status"
	}
	if own.takes("wait") && !slices.ContainsFunc(own.flags, func(f named) bool { return f.name == "max-wait" }) {
		set(&own.flags, "wait", nil)
	}
	return own.line(h)
}
