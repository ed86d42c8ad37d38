// Package setup puts authferry into other programs' configuration and takes it
// out again.
//
// A client is the files that it is set up by, each with two pure functions: one
// puts authferry in, one takes it out. All else is derived from these: a client
// is set up where taking authferry out would change something, and what is put
// in twice changes nothing the second time.
package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/rawtext"
)

// Machine is where the clients' programs and files are looked for.
type Machine struct {
	OS       string // as in runtime.GOOS
	Home     string // the person's home folder
	Binary   string // absolute path of authferry, which the clients are to call
	Getenv   func(string) string
	LookPath func(program string) (string, error)
	Version  func(path string) string // what that program says to --version; nil: it isn't asked
}

// Choice is what a client is set up for. The zero value leaves the choice of the
// account to each call.
type Choice struct {
	Provider, Account, Pool string
	Origins                 []string          // where the chosen account's tokens may go
	Map                     map[string]string // the client's own names of providers, to authferry's
	Proxy                   string            // URL of the authferry serve that the client is to use; empty: none
	Listen                  string            // where that one is to listen, as --listen takes it
	For                     []string          // the clients that get authferry's MCP server; none: those that are installed
	Server                  Server            // the remote MCP server that the client is to reach; its zero value: none
	Env                     []string          // what authferry needs in its environment where a client clears that: NAME=VALUE
}

// Client is a program that can be set up.
type Client struct {
	Name     string   // as in `authferry setup NAME`
	Title    string   // as its makers write it
	Programs []string // it is installed where one of these is on the PATH
	Files    func(Machine, Choice) ([]File, error)
	// Remote is the file in which it has its remote MCP servers. Nil: it can't be set up
	// for one.
	Remote func(Machine, Choice) (File, error)
	// Clears reports that what it starts doesn't get the environment of the person.
	Clears bool

	// Asks reports that the client names no host to its helper, so that an account
	// or a pool has to be chosen; Hosts that its configuration names hosts; Joins that
	// each of them has an entry of its own, beside which others stay; Providers that it has providers of its own, so that one can be chosen and no pool; Logins
	// that it keeps logins itself, which can be taken over.
	Asks, Hosts, Joins, Providers, Logins bool
	// Proxied is the provider whose API it speaks, if it can be set up for authferry
	// serve.
	Proxied string
	// Next returns what is left for the person to do once the files are written, a
	// line each. Nil: nothing is.
	Next func(Machine, Choice) []string
	// After is Next for when it is undone.
	After func(Machine) []string
}

// File is one file of a client's configuration.
type File struct {
	Path string
	Mode fs.FileMode // of a file that isn't there yet

	// Put returns the file with authferry in it, Take without. Nil is no file. An
	// error says why the file is left as it is: it can't be read, say, or names
	// another program where authferry would have to stand.
	Put, Take func(now []byte) ([]byte, error)

	// Current reports whether the file, which has authferry in it, is as this
	// authferry would write it.
	Current func(now []byte) bool

	// Proxy is the URL of the authferry serve that the file names; empty: none. Nil: it
	// never does.
	Proxy func(now []byte) string

	// Servers returns the remote MCP servers that the file has authferry for. Nil: it is
	// no file for that.
	Servers func(now []byte) []Entry

	// Private returns what in the file goes when authferry is taken out, and is not
	// authferry's: texts that a diff does not show. Nil: nothing is.
	Private func(now []byte) []string

	// Link is the program that the file is to be a link to, and Put's and Take's
	// content is its target. Empty: it is a file as any other.
	Link string
	// Optional says that the client is set up without this file as well.
	Optional bool
}

// State is how far a client is set up.
type State string

// The states.
const (
	Absent   State = "not set up"
	Outdated State = "outdated" // by another version, or for a binary at another place
	Current  State = "set up"
)

// Installed returns the path of the client's program, or "".
func (c Client) Installed(m Machine) string {
	for _, program := range c.Programs {
		if path, err := m.LookPath(program); err == nil {
			return path
		}
	}
	return ""
}

// Here reports that the client is installed, as far as that can be told.
func (c Client) Here(m Machine) bool { return len(c.Programs) == 0 || c.Installed(m) != "" }

// State looks at the client's files.
func (c Client) State(m Machine) (State, error) {
	files, err := c.Files(m, Choice{})
	if err != nil {
		return Absent, err
	}
	if len(files) == 0 && c.Remote != nil {
		return c.reaching(m)
	}
	state, missing := Absent, false
	for _, f := range files {
		now, err := read(f.Path, f.Link)
		whose := nobodys
		if f.Link != "" {
			whose = ownerOf(f.Path)
		}
		if _, other := errors.AsType[*Refusal](err); f.Link != "" && (other || whose == anothers) {
			missing = missing || !f.Optional // somebody else's program has the name
			continue
		}
		if err != nil {
			return state, fmt.Errorf("%s: %w", f.Path, err)
		}
		without, err := f.Take(now)
		switch {
		case err != nil:
			return state, fmt.Errorf("%s: %w", f.Path, err)
		case same(now, without):
			missing = missing || !f.Optional
			continue
		case whose == roots: // for all users, whether or not this one is set up
			continue
		case !f.Current(now):
			return Outdated, nil
		}
		state = Current
	}
	if state == Current && missing {
		return Outdated, nil
	}
	return state, nil
}

// Proxy is the URL of the authferry serve that the client is set up for; empty: none.
func (c Client) Proxy(m Machine) string {
	files, err := c.Files(m, Choice{})
	if err != nil {
		return ""
	}
	for _, f := range files {
		if now, err := read(f.Path, f.Link); err == nil && now != nil && f.Proxy != nil {
			return f.Proxy(now)
		}
	}
	return ""
}

// Servers returns the remote MCP servers that the client reaches by authferry.
func (c Client) Servers(m Machine) []Entry {
	if c.Remote == nil {
		return nil
	}
	m.Version = nil // it decides what is written, and asking takes a moment
	f, err := c.Remote(m, Choice{})
	if err != nil {
		return nil
	}
	now, err := read(f.Path, f.Link)
	if err != nil || now == nil {
		return nil
	}
	return f.Servers(now)
}

// reaching is the State of a client that is set up for remote MCP servers alone.
func (c Client) reaching(m Machine) (State, error) {
	f, err := c.Remote(m, Choice{})
	if err != nil {
		return Absent, err
	}
	now, err := read(f.Path, f.Link)
	if err != nil {
		return Absent, fmt.Errorf("%s: %w", f.Path, err)
	}
	if now == nil {
		return Absent, nil
	}
	state := Absent
	for _, entry := range f.Servers(now) {
		f, err := c.Remote(m, Choice{Server: Server{Name: entry.Name}})
		if err != nil || !f.Current(now) {
			return Outdated, err
		}
		state = Current
	}
	return state, nil
}

// ServersAlone reports that there is nothing to set the client up for but remote MCP
// servers.
func (c Client) ServersAlone(m Machine) bool {
	files, err := c.Files(m, Choice{})
	return err == nil && len(files) == 0 && c.Remote != nil
}

// files are those that the choice is about.
func (c Client) files(m Machine, choice Choice) ([]File, error) {
	if choice.Server.Name == "" {
		return c.Files(m, choice)
	}
	f, err := c.Remote(m, choice)
	return []File{f}, err
}

// Plan returns what setting up, or undoing it, would change. None is none.
func (c Client) Plan(m Machine, choice Choice, undo bool) ([]Change, error) {
	files, err := c.files(m, choice)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, f := range files {
		now, err := read(f.Path, f.Link)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		edit := f.Put
		if undo {
			edit = f.Take
		}
		after, err := edit(now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		if !same(now, after) {
			c := Change{Path: f.Path, Before: now, After: after, Mode: f.Mode, Link: f.Link}
			if f.Private != nil && now != nil {
				c.private = f.Private(now)
			}
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// same tells no file from an empty one.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// What a client's file has at most: more is no configuration, and much work.
const (
	maxFile     = 32 << 20
	maxTOMLKeys = 8000
	maxDepth    = 1000
)

// read returns nil for a file that isn't there, and never nil for one that is.
func read(path, link string) ([]byte, error) {
	if link != "" {
		return readLink(path, link)
	}
	data, err := atomicfile.Read(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, atomicfile.ErrUnfit):
		return nil, refuse("it is not a regular file of at most %d MB; it was left as it is", maxFile>>20)
	case err != nil:
		return nil, err
	case data == nil:
		data = []byte{}
	}
	// No client reads anything but UTF-8: to change such a file would not help.
	if _, form, err := rawtext.Decode(data); err != nil || !form.Plain() {
		return nil, refuse("it is UTF-16, or has NULs in it; save it as UTF-8, it was left as it is")
	}
	return data, nil
}

// ErrNoHosts is wrapped by Plan's error if the client is set up by host and the chosen
// account's tokens may not be sent to any.
var ErrNoHosts = errors.New("this account may send its token to no host yet (no --api-origin)")

// Refusal says why a file is left as it is, and what a person can do about it.
type Refusal struct {
	Why  string
	Edit string // what to do by hand, in words; may be empty
	Run  string // a command that helps; may be empty
}

func (r *Refusal) Error() string {
	if r.Edit == "" {
		return r.Why
	}
	return r.Why + ": " + r.Edit
}

func refuse(why string, args ...any) *Refusal { return &Refusal{Why: fmt.Sprintf(why, args...)} }

func (r *Refusal) instead(edit string, args ...any) *Refusal {
	r.Edit = fmt.Sprintf(edit, args...)
	return r
}

func (r *Refusal) run(command string) *Refusal {
	r.Run = command
	return r
}
