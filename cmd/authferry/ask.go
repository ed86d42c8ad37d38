package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
)

// Questions to a person, each a line on stderr, answered by a line. What Enter means is in
// brackets. The end of the input (Ctrl-D) and Ctrl-C mean no.

// present reports whether there is a person to ask.
func (a *app) present() bool { return !a.term.noInput && isTerminal(a.in) && isTerminal(a.err) }

// declined is the result of a person's no, which is not an error.
func declined() error { return &fault.Error{Code: fault.Cancelled, Message: unchanged} }

// question asks a person who is present, and returns the answer as it was typed.
func (a *app) question(text string) (string, error) {
	_, _ = fmt.Fprint(a.err, printable(text)+" ")
	answer, err := bufio.NewReader(a.input()).ReadString('\n')
	answer = strings.TrimSpace(answer)
	if err != nil && answer == "" || a.ctx.Err() != nil {
		_, _ = fmt.Fprintln(a.err) // the cursor is still after the question
		return "", declined()
	}
	return answer, nil
}

// ask returns a person's answer in lower case. Without a person it is a usage error that
// names the flags that answer too.
func (a *app) ask(question string, flags ...string) (string, error) {
	if !a.present() {
		e := &fault.Error{Code: fault.Usage, Message: "needs an answer, but there is no terminal to ask on"}
		for _, flag := range flags {
			e.Next = append(e.Next, fault.Remedy{Do: fault.Again, Name: flag})
		}
		return "", e
	}
	answer, err := a.question(question)
	return strings.ToLower(answer), err
}

// confirm asks a person; without one it is a usage error that names the flag.
func (a *app) confirm(question, flag string) error {
	answer, err := a.ask(question+" [y/N]", flag)
	if err != nil || answer == "y" || answer == "yes" {
		return err
	}
	return declined()
}

// agree asks a person who is present; Enter means yes.
func (a *app) agree(question string) (bool, error) {
	answer, err := a.ask(question + " [Y/n]")
	return answer == "" || answer == "y" || answer == "yes", err
}

// option is one line of a menu: a word and its description.
type option struct{ word, about string }

// menu is a choice among options, by number or word.
type menu struct {
	title   string
	options []option
	usual   int               // the option that Enter takes
	free    func(string) bool // whether other text is accepted; nil: no
}

// pickPool asks for one of the pools of provider; of all, if provider is empty.
func pickPool(a *app, title, provider string) (broker.Chosen, error) {
	s, err := broker.Status(a.folder)
	if err != nil {
		return broker.Chosen{}, err
	}
	m := menu{title: title}
	var pools []broker.Chosen
	for _, v := range s.Pools {
		if provider == "" || v.Provider == provider {
			pools = append(pools, broker.Chosen{Provider: v.Provider, Pool: v.Name})
			m.options = append(m.options, option{v.Name, membersText(v)})
		}
	}
	at, _, err := a.pick(m)
	if err != nil {
		return broker.Chosen{}, err
	}
	return pools[at], nil
}

// membersText lists the accounts of a pool.
func membersText(v broker.PoolView) string {
	labels := make([]string, len(v.Accounts))
	for i := range v.Accounts {
		labels[i] = v.Accounts[i].Label
	}
	return strings.Join(labels, ", ")
}

// pick shows the menu and asks until the answer is valid. The word is the chosen option's;
// or other text, and then at is -1.
func (a *app) pick(m menu) (at int, word string, err error) {
	t := newTable()
	for i, o := range m.options {
		t.add(fmt.Sprintf("%3d) %s", i+1, o.word), o.about)
	}
	_, _ = fmt.Fprintln(a.err, printable(m.title))
	if err := t.print(a.err, a.term.columns(a.err)); err != nil {
		return 0, "", err
	}
	for {
		answer, err := a.question(fmt.Sprintf("[%d]:", m.usual+1))
		if err != nil {
			return 0, "", err
		}
		if answer == "" {
			return m.usual, m.options[m.usual].word, nil
		}
		if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(m.options) {
			return n - 1, m.options[n-1].word, nil
		}
		for i, o := range m.options {
			if strings.EqualFold(answer, o.word) {
				return i, o.word, nil
			}
		}
		if m.free != nil && m.free(answer) {
			return -1, answer, nil
		}
		// The typed text isn't repeated: it may be a key, pasted too early.
		_, _ = fmt.Fprintf(a.err, "A number from 1 to %d, please.\n", len(m.options))
	}
}
