package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// maxSecretLine is far above any secret that a person brings.
const maxSecretLine = 64 << 10

var errNothing = errors.New("it is empty")

// readSecret reads an API key or a client secret (what names it) from one line of stdin or
// from the terminal. What the issuer didn't write around it is removed, or the secret is
// refused.
func (a *app) readSecret(what string) (keystore.Secret, error) {
	line, err := a.readLine(what)
	if err != nil {
		return keystore.Secret{}, err
	}
	s, err := rawtext.Token(line.Reveal())
	switch {
	case err != nil:
	case s == "":
		err = errNothing
	case rawtext.Unquote(s) != s:
		err = rawtext.ErrQuoted
	default:
		return keystore.NewSecret(s), nil
	}
	return keystore.Secret{}, badSecret(what, err)
}

// readLine reads one line from stdin, at most 64 KiB, without its end. At a terminal it
// asks for it, and shows nothing of it.
func (a *app) readLine(what string) (keystore.Secret, error) {
	if a.present() {
		return a.askHidden(strings.ToUpper(what[:1])+what[1:]+" (not shown): ", what)
	}
	if isTerminal(a.in) {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "needs the " + what + ", but there is no terminal to ask on; pipe it in", Next: []fault.Remedy{{Do: fault.Again}}}
	}
	data, err := io.ReadAll(io.LimitReader(a.input(), maxSecretLine+1))
	if err != nil && a.ctx.Err() != nil {
		return keystore.Secret{}, &fault.Error{Code: fault.Cancelled, Message: "interrupted; nothing was changed"}
	}
	if err != nil {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "stdin can't be read", Err: err}
	}
	if len(data) > maxSecretLine {
		return keystore.Secret{}, badSecret(what, errors.New("it is over 64 KiB"))
	}
	s, err := rawtext.Line(data)
	if err == nil && s == "" {
		err = errNothing
	}
	if err != nil {
		return keystore.Secret{}, badSecret(what, err)
	}
	return keystore.NewSecret(s), nil
}

func badSecret(what string, err error) error {
	return &fault.Error{Code: fault.Usage, Message: fmt.Sprintf("invalid %s: %v; nothing was changed", what, err)}
}
