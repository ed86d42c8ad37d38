package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// chooseServer resolves which remote MCP server the client will reach, and with whose
// login.
func (c *setupCmd) chooseServer(a *app, client setup.Client) (setup.Choice, error) {
	if client.Remote == nil {
		return setup.Choice{}, &fault.Error{Code: fault.Usage, Message: "setup " + client.Name + " takes no --mcp", Next: []fault.Remedy{{Do: listSetUp}}}
	}
	if c.Provider != "" || c.Proxy || c.Listen != "" || len(c.Host) > 0 || len(c.For) > 0 || len(c.Map) > 0 {
		return setup.Choice{}, &fault.Error{Code: fault.Usage, Message: "--mcp goes with --account and --pool alone: the server's address is known"}
	}
	p, err := remoteServer(a, c.MCP)
	if c.Undo {
		if err != nil {
			p.Name = c.MCP // the provider is gone, and the client still has the server
		}
		return setup.Choice{Server: setup.Server{Name: p.Name}}, nil
	}
	if err != nil {
		return setup.Choice{}, err
	}
	chosen, err := a.broker.Chosen(pool.Selection{Account: c.Account, Pool: c.Pool, Provider: p.Name})
	if err != nil {
		return setup.Choice{}, err
	}
	choice := setup.Choice{
		Provider: chosen.Provider, Account: chosen.Account, Pool: chosen.Pool,
		Server: setup.Server{Name: p.Name, Address: p.MCP},
	}
	if client.Clears {
		choice.Env, err = surroundings(a, client)
	}
	return choice, err
}

// remoteServer finds the provider that is a remote MCP server, by its name or its address.
func remoteServer(a *app, named string) (oauth.Provider, error) {
	if isAddress(named) {
		all, err := a.folder.Providers()
		if err != nil {
			return oauth.Provider{}, err
		}
		if p, ok := all.Remote(named); ok {
			return p, nil
		}
		return oauth.Provider{}, &fault.Error{Code: fault.NoAccount, Message: fmt.Sprintf("no account is for %s", named), Next: []fault.Remedy{{Do: fault.Login, Provider: named}}}
	}
	p, err := a.folder.Provider(named)
	if err == nil && p.MCP == "" {
		err = &fault.Error{Code: fault.Usage, Message: "provider " + p.Name + " is not a remote MCP server", Next: []fault.Remedy{{Do: fault.ListProviders}}}
	}
	return p, err
}

// surroundings are the variables that authferry needs in an environment that only has a
// home. A proxy with a password in its address is left out, because no secret is written
// down.
func surroundings(a *app, client setup.Client) (env []string, err error) {
	carry := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\n\r\x00") {
			env = append(env, name+"="+value)
		}
	}
	absolute := func(path string) string {
		if path == "" || err != nil {
			return ""
		}
		path, err = filepath.Abs(path)
		return path
	}
	unix := runtime.GOOS != "windows" && runtime.GOOS != "darwin"
	if os.Getenv("AUTHFERRY_DIR") != "" || unix && os.Getenv("XDG_CONFIG_HOME") != "" {
		carry("AUTHFERRY_DIR", absolute(a.folder.Dir))
	}
	carry("AUTHFERRY_KEYSTORE", os.Getenv("AUTHFERRY_KEYSTORE"))
	carry("AUTHFERRY_KEY_FILE", absolute(os.Getenv("AUTHFERRY_KEY_FILE")))
	s, statusErr := broker.Status(a.folder)
	if statusErr != nil {
		return nil, statusErr
	}
	switch bus := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); {
	case s.Keystore.Kind == "file":
		carry("XDG_RUNTIME_DIR", os.Getenv("XDG_RUNTIME_DIR")) // for an unlocked key
	case unix && bus != fmt.Sprintf("unix:path=/run/user/%d/bus", os.Getuid()):
		carry("DBUS_SESSION_BUS_ADDRESS", bus)
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		value := os.Getenv(name)
		if u, parseErr := url.Parse(value); parseErr == nil && u.User == nil && !strings.Contains(value, "@") {
			carry(name, value)
		} else if value != "" {
			a.term.warn(fmt.Sprintf("%s contains a password, so it is not written to the file: authferry will not use that proxy under %s", name, client.Title))
		}
	}
	return env, err
}

// versionPatience is how long a program may take to print its version.
const versionPatience = 20 * time.Second

// versionOf is a program's answer to --version; empty: none.
func versionOf(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), versionPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version") // #nosec G204 -- the client that is set up
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out[:min(len(out), 200)])
}

// usable are the installed programs that could use provider's accounts and are not set up:
// AI clients only, because others need to know the hosts.
func usable(m setup.Machine, provider string) (found []setup.Client) {
	for _, client := range setup.Clients() {
		speaks := client.Proxied == provider || client.Providers && slices.Contains(spoken, provider)
		if !speaks || client.Installed(m) == "" {
			continue
		}
		if state, err := client.State(m); err == nil && state == setup.Absent {
			found = append(found, client)
		}
	}
	return found
}

// offerSetup asks after a login whether programs should use it. A no is not a failure: the
// login stays.
func offerSetup(a *app, v pool.AccountView) error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	for _, client := range usable(m, v.Provider) {
		yes, err := a.agree("Set up " + client.Title + " to use it?")
		c, words := &setupCmd{Client: client.Name}, []string{"setup", client.Name}
		if client.Asks {
			c.Pool, words = v.Pool, append(words, "--pool="+v.Pool)
		}
		hints := newHints(words, nil)
		if err != nil { // Ctrl-D or Ctrl-C: no more questions
			a.term.note("%s was not set up; to do it later: %s", client.Title, hints.again(fault.Remedy{}))
			return nil //nolint:nilerr // the login is stored
		}
		if !yes {
			continue
		}
		a.term.hints = hints
		if err := c.Run(a); fault.CodeOf(err) == fault.Cancelled {
			a.term.note(unchanged)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// suggested are the commands by which installed programs use the accounts of providers.
func suggested(a *app, providers []string) (commands []string) {
	m, err := thisMachine()
	if err != nil {
		return nil
	}
	add := func(r fault.Remedy) {
		if command := a.term.hints.command(r); !slices.Contains(commands, command) {
			commands = append(commands, command)
		}
	}
	for _, provider := range providers {
		for _, client := range usable(m, provider) {
			if client.Proxied != "" {
				add(fault.Remedy{Do: runIt, Name: client.Programs[0]})
			} else {
				add(fault.Remedy{Do: setUpIn, Name: client.Name})
			}
		}
	}
	if _, err := m.LookPath("gemini"); err == nil && slices.Contains(providers, clients["gemini"]) { // which setup doesn't know
		add(fault.Remedy{Do: runIt, Name: "gemini"})
	}
	return commands
}
