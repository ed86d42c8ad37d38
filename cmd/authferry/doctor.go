package main

import (
	"fmt"
	"strings"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

type doctorCmd struct {
	jsonFlag
	Fix bool `help:"Fix what can be fixed without losing a login."`
}

func (c *doctorCmd) Run(a *app) error {
	over := a.term.step(folder.Step{Doing: func() string { return "examining the keystore and every account" }})
	checks := append(doctor.Examine(a.ctx, a.broker.Folder, c.Fix), proxyChecks(a)...)
	checks = append(checks, clientChecks(a)...)
	over()
	return a.checked(checks, c.JSON, fault.Remedy{Do: fault.Fix})
}

// checked shows checks; it is an error if one failed, which fix may cure.
func (a *app) checked(checks []doctor.Check, asJSON bool, fix fault.Remedy) error {
	failed := 0
	for _, check := range checks {
		if check.Status == doctor.Fail {
			failed++
		}
	}
	if asJSON {
		if err := a.printJSON(checksDoc{a.term.checkDocs(checks)}); err != nil {
			return err
		}
	} else if err := showChecks(a, checks); err != nil {
		return err
	}
	if failed == 0 {
		return nil
	}
	e := &fault.Error{Code: fault.Internal, Message: fmt.Sprintf("%d of %d checks failed", failed, len(checks)), Next: []fault.Remedy{fix}}
	return reported{e}
}

type checksDoc struct {
	Checks []checkDoc `json:"checks"`
}

// checkDoc is the JSON of a check.
type checkDoc struct {
	Name    string        `json:"name"`
	Status  doctor.Status `json:"status"`
	Message string        `json:"message"`
	Hint    string        `json:"hint,omitempty"` // the commands that fix it, one a line
}

func (t *terminal) checkDocs(checks []doctor.Check) []checkDoc {
	docs := make([]checkDoc, len(checks))
	for i, c := range checks {
		docs[i] = checkDoc{c.Name, c.Status, c.Message, t.hints.lines(c.Next)}
	}
	return docs
}

// clientChecks checks the programs in which authferry is set up: only here a person learns
// that one calls a binary that was moved.
func clientChecks(a *app) (checks []doctor.Check) {
	m, err := thisMachine()
	if err != nil {
		return nil
	}
	for _, client := range setup.Clients() {
		servers := serverChecks(a, m, client)
		if checks = append(checks, servers...); len(servers) > 0 && client.ServersAlone(m) {
			continue // all there is to say of it
		}
		check := doctor.Check{Name: client.Name, Next: []fault.Remedy{{Do: plain, Value: setupAgain(m, client)}}}
		switch state, err := client.State(m); {
		case err != nil:
			check.Status, check.Message = doctor.Warning, err.Error()
		case state == setup.Outdated:
			check.Status, check.Message = doctor.Warning, client.Title+" is set up for another version of authferry, or for one at another place"
		case state == setup.Current:
			check.Status, check.Message, check.Next = doctor.OK, client.Title+" is set up", nil
		default:
			continue
		}
		checks = append(checks, check)
	}
	return checks
}

// setupAgain sets a client up again for what it is set up for.
func setupAgain(m setup.Machine, client setup.Client) string {
	again := "authferry setup " + client.Name
	if client.ServersAlone(m) {
		return again + " --mcp PROVIDER"
	}
	if url := client.Proxy(m); url != "" {
		again += " --proxy --listen " + strings.TrimPrefix(url, "http://")
	}
	return again
}

func showChecks(a *app, checks []doctor.Check) error {
	const indent = len(doctor.Warning) + gap
	columns := a.term.columns(a.out)
	for _, check := range checks {
		mark := string(check.Status)
		if a.term.colours(a.out) { // yellow can't be seen on white
			mark = map[doctor.Status]string{doctor.OK: "\x1b[32m", doctor.Warning: "\x1b[1m", doctor.Fail: "\x1b[1;31m"}[check.Status] + mark + "\x1b[0m"
		}
		mark += strings.Repeat(" ", indent-len(check.Status))
		if _, err := fmt.Fprintln(a.out, mark+hang(printable(check.Name+": "+check.Message), indent, columns)); err != nil {
			return err
		}
		for hint := range strings.Lines(a.term.hints.lines(check.Next)) {
			if _, err := fmt.Fprintln(a.out, strings.Repeat(" ", indent)+hang(printable(strings.TrimSuffix(hint, "\n")), indent, columns)); err != nil {
				return err
			}
		}
	}
	return nil
}
