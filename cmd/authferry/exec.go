package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
)

// execCmd has no argument for the command to run: parse removes what follows "--" before
// kong would take its first word for the PROVIDER.
type execCmd struct {
	Providers []string `arg:"" optional:"" name:"provider" help:"Provider whose account to use; of several each sets its own variables."`
	which
	Env    []string      `sep:"none" placeholder:"NAME" help:"Variable to put the token in, whatever its name, instead of the provider's own; may be repeated."`
	MinTTL time.Duration `name:"min-ttl" default:"${min_ttl}" help:"Refresh first if the token is valid for less."`
	waiting
}

// Help is shown below the flags.
func (c *execCmd) Help() string {
	return "The command and its arguments follow after --."
}

// Exit codes of exec itself, the same as a shell's.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

func (c *execCmd) Run(a *app) error {
	if len(a.child) == 0 {
		return &fault.Error{Code: fault.Usage, Message: "there is no command to run", Next: []fault.Remedy{{Do: execIt}}}
	}
	for _, name := range c.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return &fault.Error{Code: fault.Usage, Message: "--env takes the name of a variable"}
		}
	}
	// The command is looked up first, so that a mistyped one costs no refresh.
	path, err := exec.LookPath(a.child[0])
	if err != nil {
		return &childError{code: notRunnable(err), err: fmt.Errorf("%s can't be run: %w", a.child[0], reason(err))}
	}
	tokens, err := c.tokens(a)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Cancelled {
		return fault.Errorf(fault.Cancelled, "%s; %s was not started", e.Message, a.child[0])
	}
	if err != nil {
		return err
	}
	env := os.Environ()
	var set, providers []string // the provider that set a variable has the same index in providers
	for _, t := range tokens {
		names := c.Env
		if len(names) == 0 {
			if names, err = broker.ExecEnv(a.folder, &t.Account); err != nil {
				return err
			}
		}
		for i, name := range set {
			if containsName(names, name) {
				return twice(name, providers[i], t.Account.Provider, tokens, set)
			}
		}
		for _, name := range names {
			set, providers = append(set, name), append(providers, t.Account.Provider)
		}
		env = withVariables(env, names, t.AccessToken.Reveal())
	}
	return become(path, a.child, env)
}

// tokens is one for each provider. After a wait the others are checked again: they may have
// expired meanwhile, or their accounts may be held.
func (c *execCmd) tokens(a *app) (tokens []*broker.Token, err error) {
	providers := slices.Compact(slices.Sorted(slices.Values(c.Providers)))
	switch {
	case len(providers) == 0:
		providers = []string{""}
	case len(providers) > 1 && len(c.Env) > 0:
		return nil, &fault.Error{Code: fault.Usage, Message: "--env goes with one provider; of several each sets its own variables"}
	}
	for waits := true; waits; {
		tokens, waits = nil, false
		for _, provider := range providers {
			one := tokenCmd{selection: selection{provider, c.which}, MinTTL: c.MinTTL, waiting: c.waiting}
			t, waited, err := one.obtain(a)
			if err != nil {
				return nil, err
			}
			tokens, waits = append(tokens, t), waits || waited && len(providers) > 1
		}
	}
	return tokens, nil
}

// twice is the error for a variable that two providers set.
func twice(name, first, second string, tokens []*broker.Token, set []string) error {
	var others []string
	for _, t := range tokens {
		if t.Account.Provider != second {
			others = append(others, t.Account.Provider)
		}
	}
	own := variableName(second) + "_TOKEN"
	if containsName(set, own) {
		own = variableName(second) + "_ACCESS_TOKEN"
	}
	return &fault.Error{Code: fault.Usage, Message: fmt.Sprintf("providers %s and %s both set %s", first, second, name),
		Next: []fault.Remedy{{Do: execInside, Provider: second, Name: strings.Join(others, " "), Value: own}}}
}

// withVariables is env with value in each of the names.
func withVariables(env, names []string, value string) []string {
	out := make([]string, 0, len(env)+len(names))
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !containsName(names, name) {
			out = append(out, e)
		}
	}
	for _, n := range names {
		out = append(out, n+"="+value)
	}
	return out
}

// childError ends the program with the exit code of exec's command; err is nil if the
// command ran.
type childError struct {
	code int
	err  error
}

func (e *childError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the command ended with %d", e.code)
	}
	return e.err.Error()
}

func notRunnable(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

// reason is err without the command's name, which the message has already.
func reason(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
