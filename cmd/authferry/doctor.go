package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
	"github.com/authferry/authferry/humantime"
)

type doctorCmd struct {
	jsonFlag
	Fix bool `help:"Fix what can be fixed without losing a login."`
}

func (c *doctorCmd) Run(a *app) error {
	over := a.term.step(folder.Step{Doing: func() string { return "examining the keystore and every account" }})
	checks := append(doctor.Examine(a.ctx, a.folder, c.Fix), proxyChecks(a)...)
	checks = append(checks, clientChecks(a)...)
	over()
	return checked(a, checks, c.JSON, fault.Remedy{Do: fault.Fix})
}

// checked shows checks; it is an error if one failed, which fix may cure.
func checked(a *app, checks []doctor.Check, asJSON bool, fix fault.Remedy) error {
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

// serverChecks warns about the remote MCP servers that a client is set up to reach through
// authferry and can't: the provider, the account or the pool that it names is gone, or the
// binary that it calls is another one.
func serverChecks(a *app, m setup.Machine, client setup.Client) (checks []doctor.Check) {
	for _, entry := range client.Servers(m) {
		if entry.Dir != "" && filepath.Clean(entry.Dir) != filepath.Clean(a.folder.Dir) {
			continue // it is for another folder
		}
		if message, next := outdated(a, m, client, entry); message != "" {
			checks = append(checks, doctor.Check{Name: client.Name, Status: doctor.Warning, Message: client.Title + " " + message, Next: next})
		}
	}
	return checks
}

// outdated says what is wrong with an entry; empty: nothing.
func outdated(a *app, m setup.Machine, client setup.Client, entry setup.Entry) (message string, next []fault.Remedy) {
	server, whose, ok := reached(entry.Words)
	if !ok {
		return "", nil // somebody's own way to call authferry
	}
	run := func(line string) fault.Remedy { return fault.Remedy{Do: plain, Value: line} }
	again := func(provider, more string) fault.Remedy {
		return run("authferry setup " + client.Name + a.term.hints.flag("mcp", provider) + more)
	}
	p, err := remoteServer(a, server)
	if err != nil {
		next = []fault.Remedy{again(entry.Name, " --undo")}
		if isAddress(server) {
			next = slices.Insert(next, 0, fault.Remedy{Do: fault.Login, Provider: server})
		}
		return fmt.Sprintf("is set up for MCP server %q, and no provider here is for it", entry.Name), next
	}
	if _, err := a.broker.Chosen(pool.Selection{Account: whose.Account, Pool: whose.Pool, Provider: p.Name}); err != nil {
		next = []fault.Remedy{again(p.Name, "")}
		if _, none := a.broker.Chosen(pool.Selection{Provider: p.Name}); none != nil {
			next = slices.Insert(next, 0, fault.Remedy{Do: fault.Login, Provider: p.Name})
		}
		return fmt.Sprintf("is set up for MCP server %q with a login that is not here: %v", entry.Name, err), next
	}
	if called := entry.Words[0]; filepath.IsAbs(called) && filepath.ToSlash(called) != filepath.ToSlash(m.Binary) {
		more := ""
		switch {
		case whose.Account != "":
			more = a.term.hints.flag("account", whose.Account)
		case whose.Pool != "":
			more = a.term.hints.flag("pool", whose.Pool)
		}
		return fmt.Sprintf("is set up for MCP server %q with another authferry, %s", entry.Name, called), []fault.Remedy{again(p.Name, more)}
	}
	return "", nil
}

// reached is which server a command line of authferry's reaches, and with whose login.
func reached(words []string) (server string, whose which, ok bool) {
	if len(words) < 3 || slices.Contains(words, "--help") || slices.Contains(words, "-h") {
		return "", which{}, false
	}
	c, _, err := parse(words[1:], streams{out: io.Discard, err: io.Discard})
	if err != nil {
		return "", which{}, false
	}
	own := c.Selected().Target.Addr()
	if bridge, ok := reflect.TypeAssert[*connectCmd](own); ok {
		return bridge.Server, bridge.which, true
	}
	if headers, ok := reflect.TypeAssert[*mcpHeadersCmd](own); ok && headers.URL != "" {
		return headers.URL, headers.which, true
	}
	return "", which{}, false
}

// proxyChecks checks whether the authferry serve that clients are set up for is running,
// and which program has its place.
func proxyChecks(a *app) (checks []doctor.Check) {
	say := func(status doctor.Status, next fault.Remedy, format string, args ...any) {
		check := doctor.Check{Name: "proxy", Status: status, Message: fmt.Sprintf(format, args...)}
		if next.Do != "" {
			check.Next = []fault.Remedy{next}
		}
		checks = append(checks, check)
	}
	running := slices.DeleteFunc(folder.Proxies(a.folder), func(v folder.ProxyView) bool { return v.Program != folder.ServeProgram })
	for _, v := range running {
		say(doctor.OK, fault.Remedy{}, "authferry serve (pid %d) listens at %s since %s", v.PID, printable(v.Listen), humantime.At(v.Since, time.Now()))
	}
	m, err := thisMachine()
	if err != nil {
		return checks
	}
	unit := "" // if the session starts one
	for _, client := range setup.Clients() {
		address := strings.TrimPrefix(client.Proxy(m), "http://")
		title := client.Title
		if client.Name == "serve" {
			unit, title = address, "the session"
		}
		there := func(v folder.ProxyView) bool { return v.Listen == address }
		if address == "" || slices.ContainsFunc(running, there) {
			continue
		}
		serve := fault.Remedy{Do: serveAt}
		if address != setup.DefaultListen {
			serve.Value = address
		}
		if len(running) > 0 {
			if client.Name != "serve" {
				say(doctor.Warning, fault.Remedy{Do: setUpIn, Name: client.Name, Value: "proxy"}, "%s is set up for authferry serve at %s, which listens at %s", title, address, printable(running[0].Listen))
			}
			continue
		}
		owner, taken := whoListens(a, address)
		switch {
		case owner != "":
			say(doctor.Fail, fault.Remedy{Do: serveAt, Value: "127.0.0.1:PORT"}, "%s is set up for authferry serve at %s, and user %s has that port; nothing is sent there", title, address, owner)
		case taken && unit != address && client.Name != "serve":
			say(doctor.Warning, fault.Remedy{}, "%s is set up for authferry serve at %s, and another program has that port; nothing is sent there", title, address)
		case client.Name == "serve":
			say(doctor.Warning, fault.Remedy{Do: plain, Value: setup.StartService(m)}, "authferry serve is set up to run with every session, and doesn't run")
		case !taken:
			say(doctor.Warning, serve, "%s is set up for authferry serve at %s, and none is running", title, address)
		}
	}
	return checks
}

// whoListens says whether an address is in use and, if it is known, by which other user.
func whoListens(a *app, address string) (owner string, taken bool) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, address = "unix", path
	}
	if uid, ok := portOwner(address); ok && uid != os.Geteuid() {
		name := strconv.Itoa(uid)
		if u, err := user.LookupId(name); err == nil {
			name = cmp.Or(u.Username, name)
		}
		return name, true
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(a.ctx, network, address) // #nosec G704 -- on this machine
	if err != nil {
		return "", false
	}
	_ = conn.Close() // nothing was sent
	return "", true
}
