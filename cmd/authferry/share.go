package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/share/pipe"
)

// shareCmd is what people do with pools that many machines share. The program beside this
// one does the work: see package pipe.
type shareCmd struct {
	Start   shareStartCmd   `cmd:"" help:"Share a pool of this machine with others."`
	Invite  shareInviteCmd  `cmd:"" help:"Print a ticket, a secret with which a machine can join."`
	Join    shareJoinCmd    `cmd:"" help:"Join a shared pool. The ticket is one line on stdin."`
	Status  shareStatusCmd  `cmd:"" help:"Ask the engine who has which account."`
	Members shareMembersCmd `cmd:"" help:"List the machines of a shared pool, and its open tickets."`
	Leave   shareLeaveCmd   `cmd:"" help:"Leave a shared pool: its accounts go from this machine."`
	Remove  shareRemoveCmd  `cmd:"" help:"Remove a machine that was lost, or withdraw a ticket."`
	Recover shareRecoverCmd `cmd:"" help:"Stop waiting for a machine that will never come back."`
	Doctor  shareDoctorCmd  `cmd:"" help:"Check the engine and this machine's place in the pool."`
	Serve   shareServeCmd   `cmd:"" help:"Stay, take over new tokens at once, and refresh for machines that can't."`
}

// Help is shown below the flags.
func (c *shareCmd) Help() string {
	return "A shared pool lives on an engine of your own, etcd, which can't read what is stored there. Each refresh token is used once, by one machine, and all the others get what comes of it."
}

// callShare has the program beside this one do a command.
func callShare(a *app, command string, args, result any, event func(json.RawMessage) error) error {
	cmd, err := folder.ShareCommand(a.ctx, a.folder, pipe.Command)
	if err != nil {
		return err
	}
	cmd.Cancel = func() error { return nil } // it is told, and has time to stop
	cmd.Stderr = a.err
	document, err := pipe.Call(a.ctx, cmd, command, a.options.Log != nil, args, pipe.Listener{
		Warn:  a.term.warn,
		Event: event,
		Doing: func(text string, until time.Time) func() {
			return a.term.step(folder.Step{Doing: func() string { return text }, Until: until})
		},
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(document, result)
}

// isShared reports whether other machines share the pool of that name.
func isShared(a *app, name string) bool {
	all, err := broker.SharedPools(a.folder)
	return err == nil && slices.ContainsFunc(all, func(p index.SharedPool) bool { return index.EqualLabel(p.Pool, name) })
}

// takeOut makes an account of a shared pool this machine's own, before it is moved or
// removed: the other machines delete it.
func takeOut(a *app, id string) error {
	return callShare(a, pipe.TakeOut, pipe.TakeOutRequest{Account: id}, new(pipe.TakeOutResult), nil)
}

// enterShared tells the machines that share a pool of what was just added to it, or renewed in it.
// If that fails they learn it later: the login is safe here.
func enterShared(a *app, pool string) {
	if !isShared(a, pool) {
		return
	}
	err := callShare(a, pipe.Enter, pipe.PoolRequest{Pool: pool}, new(pipe.EnterResult), nil)
	if err == nil {
		a.term.note("the machines that share pool %q have it too", pool)
		return
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		e = &fault.Error{}
	}
	a.term.warn(fmt.Sprintf("the machines that share pool %q don't have it yet: %v", pool, err), e.Next...)
}

// setForAll tells the machines that share an account what was just set of it here.
func setForAll(a *app, acc *index.Account, setting string) error {
	switch {
	case acc.Share == nil:
		return nil
	case acc.Share.Role != index.RoleHolder:
		a.term.warn(fmt.Sprintf("that is so on this machine alone, which only gets access tokens of pool %q; a machine that holds its logins sets it for all", acc.Pool), fault.Remedy{Do: fault.ShareMembers, Pool: acc.Pool})
		return nil
	}
	if err := callShare(a, pipe.Set, pipe.SetRequest{Account: acc.ID, Setting: setting}, new(pipe.SetResult), nil); err != nil {
		again := fault.Remedy{Do: fault.Again}
		if setting == pipe.Label { // that it was called with names nothing any more
			again.Account = acc.ID
		}
		return hereAlone(fmt.Sprintf("account %q was changed here, but the machines that share pool %q don't know", acc.Label, acc.Pool), err, again)
	}
	a.term.note("the machines that share pool %q have it too", acc.Pool)
	return nil
}

// hereAlone is the error where something was done on this machine, and cause kept it from
// being done on the others: what says so. It is to be done again.
func hereAlone(what string, cause error, again fault.Remedy) error {
	e, ok := errors.AsType[*fault.Error](cause)
	if !ok {
		e = &fault.Error{Code: fault.Internal}
	}
	next := slices.DeleteFunc(slices.Clone(e.Next), func(r fault.Remedy) bool { return r.Do == fault.Again })
	return &fault.Error{Code: e.Code, Message: fmt.Sprintf("%s: %v", what, cause), Next: append(next, again)}
}

// pemFile reads a file with a certificate or a key; flag names it.
func pemFile(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path) // #nosec G304 -- the file that a person names
	if err != nil {
		return "", &fault.Error{Code: fault.Usage, Message: "--" + flag + " can't be read", Err: err}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretLine+1))
	switch {
	case err != nil:
		return "", &fault.Error{Code: fault.Usage, Message: "--" + flag + " can't be read", Err: err}
	case len(data) > maxSecretLine, !strings.Contains(string(data), "-----BEGIN "):
		return "", &fault.Error{Code: fault.Usage, Message: fmt.Sprintf("%s is no file in PEM form, which begins with -----BEGIN", path)}
	}
	return string(data), nil
}

// pair reads a certificate and its key.
func pair(cert, key string) (c pipe.Credentials, err error) {
	if (cert == "") != (key == "") {
		return c, &fault.Error{Code: fault.Usage, Message: "--cert and --key go together"}
	}
	if c.Cert, err = pemFile("cert", cert); err == nil {
		c.Key, err = pemFile("key", key)
	}
	return c, err
}

type shareStartCmd struct {
	jsonFlag
	Pool      string   `arg:"" help:"The pool to share, with all of its accounts."`
	Endpoints []string `name:"endpoint" required:"" placeholder:"URL" help:"Where etcd listens; may be repeated. http only on this machine."`
	CA        string   `name:"ca" placeholder:"FILE" help:"The certificate that etcd's own is signed by."`
	Cert      string   `placeholder:"FILE" help:"This machine's certificate for etcd."`
	Key       string   `placeholder:"FILE" help:"Its key. It goes into the keystore; the file isn't needed any more."`
	Machine   string   `placeholder:"NAME" help:"What the others call this machine; its host name by default."`
	Prefix    string   `placeholder:"PREFIX" help:"What its keys in etcd begin with; authferry by default."`
}

type sharedPoolDoc struct {
	Pool pipe.Pool `json:"pool"`
}

// Help is shown below the flags.
func (c *shareStartCmd) Help() string {
	return "For a pool that is shared already, also by share join, it changes where this machine looks for etcd, or its certificate, once the pool is found there. What you leave out stays."
}

func (c *shareStartCmd) Run(a *app) error {
	credentials, err := pair(c.Cert, c.Key)
	if err != nil {
		return err
	}
	if credentials.CA, err = pemFile("ca", c.CA); err != nil {
		return err
	}
	var done pipe.StartResult
	if err := callShare(a, pipe.Start, pipe.StartRequest{Pool: c.Pool, Machine: c.Machine, Prefix: c.Prefix, Endpoints: c.Endpoints, Credentials: credentials}, &done, nil); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(sharedPoolDoc{done.Pool})
	}
	if done.Changed {
		a.term.note("this machine reaches the engine of pool %q as you said, from now on", done.Pool.Pool)
		return nil
	}
	a.term.note("pool %q is shared: %s, and this machine is %q", done.Pool.Pool, counted(len(done.Pool.Accounts), "account"), done.Pool.Machine)
	a.term.hint(a.term.hints.lines([]fault.Remedy{{Do: fault.ShareInvite, Pool: done.Pool.Pool}}))
	return nil
}

type shareInviteCmd struct {
	Pool      string `arg:"" help:"Name of the pool here."`
	Cert      string `placeholder:"FILE" help:"The joining machine's own certificate for etcd."`
	Key       string `placeholder:"FILE" help:"Its key. Both go into the ticket."`
	Consumer  bool   `help:"It gets access tokens only, no refresh tokens: for CI runners."`
	Passing   bool   `help:"It may vanish at any time and not come back: a container, a runner."`
	Reusable  bool   `help:"Any number of consumers may use the ticket until it ends."`
	WithKeys  bool   `help:"A consumer gets API keys and long-lived tokens too."`
	ExpiresIn string `name:"expires-in" default:"15m" placeholder:"D" help:"How long the ticket can be used, as 90d or 2h; 15m by default."`
}

// Help is shown below the flags.
func (c *shareInviteCmd) Help() string {
	return "Pipe the ticket into authferry share join on the other machine, or store it as a secret of your CI."
}

func (c *shareInviteCmd) Run(a *app) error {
	life, err := oauth.ParseLifetime(c.ExpiresIn)
	switch {
	case err != nil:
		return &fault.Error{Code: fault.Usage, Message: "invalid --expires-in: " + err.Error()}
	case c.Reusable && !c.Consumer:
		return &fault.Error{Code: fault.Usage, Message: "only tickets for consumers can be reusable", Next: []fault.Remedy{{Do: fault.Again, Name: "consumer"}}}
	case c.WithKeys && !c.Consumer:
		return &fault.Error{Code: fault.Usage, Message: "--with-keys is for a --consumer; other machines get them anyway", Next: []fault.Remedy{{Do: fault.Again, Name: "consumer"}}}
	case life < time.Second:
		return &fault.Error{Code: fault.Usage, Message: "--expires-in must be a second or more"}
	}
	credentials, err := pair(c.Cert, c.Key)
	if err != nil {
		return err
	}
	var done pipe.InviteResult
	if err := callShare(a, pipe.Invite, pipe.InviteRequest{Pool: c.Pool, Cert: credentials.Cert, Key: credentials.Key,
		Consumer: c.Consumer, Passing: c.Passing, Reusable: c.Reusable, WithKeys: c.WithKeys, For: life}, &done, nil); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.out, done.Ticket); err != nil {
		return err
	}
	now := time.Now()
	once := "once, "
	if c.Reusable {
		once = ""
	}
	a.term.note("ticket %s: good %suntil %s (%s)", done.ID, once, humantime.At(done.ExpiresAt, now), humantime.Relative(done.ExpiresAt, now))
	if isTerminal(a.out) {
		a.term.warn(fmt.Sprintf("whoever reads this line can join pool %q: don't mail it or paste it into a chat; pipe it to the other machine", c.Pool), fault.Remedy{Do: plain, Value: "authferry share invite --cert CERT.pem --key KEY.pem" + a.term.hints.operand(c.Pool) + " | ssh HOST authferry share join"})
	}
	return nil
}

type shareJoinCmd struct {
	As      string `placeholder:"NAME" help:"What the pool is called here; by default as where the ticket came from."`
	Machine string `placeholder:"NAME" help:"What the others call this machine; its host name by default."`
}

func (c *shareJoinCmd) Run(a *app) error {
	ticket, err := a.readSecret("ticket")
	if err != nil {
		return err
	}
	var done pipe.JoinResult
	if err := callShare(a, pipe.Join, pipe.JoinRequest{Ticket: ticket.Reveal(), As: c.As, Machine: c.Machine}, &done, nil); err != nil {
		return err
	}
	a.term.note("this machine is %q in pool %q now, with %s", done.Pool.Machine, done.Pool.Pool, counted(len(done.Pool.Accounts), "account"))
	a.term.hint(a.term.hints.lines([]fault.Remedy{{Do: plain, Value: "authferry token" + a.term.hints.flag("pool", done.Pool.Pool)}}))
	return nil
}

type shareLeaveCmd struct {
	jsonFlag
	Pool string `arg:"" help:"Name of the pool here."`
}

func (c *shareLeaveCmd) Run(a *app) error {
	var done pipe.LeaveResult
	if err := callShare(a, pipe.Leave, pipe.PoolRequest{Pool: c.Pool}, &done, nil); err != nil {
		return err
	}
	if done.Warning != "" {
		var next []fault.Remedy
		if done.Listed {
			next = append(next, fault.Remedy{Do: plain, Value: "authferry share remove" + a.term.hints.operands(done.Pool, done.Machine) + " # on a machine that holds the logins"})
		}
		a.term.warn(done.Warning, next...)
	}
	if c.JSON {
		return a.printJSON(done)
	}
	return a.showLeft(done)
}

type shareRemoveCmd struct {
	jsonFlag
	Pool    string `arg:"" help:"Name of the pool here."`
	Machine string `arg:"" help:"The machine's name or id; or the id of a ticket."`
	Yes     bool   `short:"y" help:"Don't ask."`
}

// Help is shown below the flags.
func (c *shareRemoveCmd) Help() string {
	return "The pool gets new keys, and every account is refreshed once, so that what the machine knows is of no use. API keys and long-lived tokens that it could read are listed: only the provider can end those, and the exit code is 1 until they are replaced."
}

func (c *shareRemoveCmd) Run(a *app) error {
	if !c.Yes {
		if err := a.confirm(fmt.Sprintf("Remove %q from pool %q, and refresh every account of the pool?", c.Machine, c.Pool), "yes"); err != nil {
			return err
		}
	}
	var done pipe.RemoveResult
	if err := callShare(a, pipe.Remove, pipe.RemoveRequest{Pool: c.Pool, Machine: c.Machine}, &done, nil); err != nil {
		return err
	}
	if c.JSON {
		if err := a.printJSON(done); err != nil {
			return err
		}
	} else if err := showRemoved(a, done, c.Pool); err != nil {
		return err
	}
	left := len(done.Pending) + len(done.Replace)
	if left == 0 {
		return nil
	}
	e := &fault.Error{Code: fault.Internal, Message: fmt.Sprintf("%q is out of the pool, but still knows %s", done.Machine, counted(left, "login"))}
	for _, p := range done.Pending {
		e.Next = append(e.Next, fault.Remedy{Do: fault.Refresh, Account: p.ID})
	}
	for _, p := range done.Replace {
		e.Next = append(e.Next, fault.Remedy{Do: fault.ShowAccount, Account: p.ID})
	}
	return reported{e}
}

type shareRecoverCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Yes     bool   `short:"y" help:"Don't ask."`
}

// Help is shown below the flags.
func (c *shareRecoverCmd) Help() string {
	return "Only for a machine that is gone for good. One that is asleep or off may hold the new login: wake it instead. If it has sent the refresh token already, another machine's request can end the login, and the account then needs a new one."
}

func (c *shareRecoverCmd) Run(a *app) error {
	which, err := meant(a, c.Account, nil)
	if err != nil {
		return err
	}
	v, err := broker.Info(a.folder, which)
	if err != nil {
		return err
	}
	var found pipe.RecoverResult
	if err := callShare(a, pipe.Recover, pipe.RecoverRequest{Account: v.ID}, &found, nil); err != nil {
		return err
	}
	if found.Claim != "" && !found.Recovered {
		if !c.Yes {
			question := fmt.Sprintf("%q has had %s since %s, and may hold its new login. Is that machine gone for good?", found.Machine, nameIn(v), humantime.At(found.Since, time.Now()))
			if err := a.confirm(question, "yes"); err != nil {
				return err
			}
		}
		if err := callShare(a, pipe.Recover, pipe.RecoverRequest{Account: v.ID, Claim: found.Claim}, &found, nil); err != nil {
			return err
		}
	}
	if c.JSON {
		return a.printJSON(found)
	}
	if found.Machine == "" {
		a.term.note("%s waits for no machine", nameIn(v))
		return nil
	}
	a.term.note("%s no longer waits for %q; its next use refreshes it", nameIn(v), found.Machine)
	return nil
}

type shareDoctorCmd struct {
	jsonFlag
	Pool string `arg:"" optional:"" help:"Name of the pool here; all by default."`
	Fix  bool   `help:"Fix what can be fixed without losing a login."`
}

func (c *shareDoctorCmd) Run(a *app) error {
	var done pipe.DoctorResult
	if err := callShare(a, pipe.Doctor, pipe.DoctorRequest{Pool: c.Pool, Fix: c.Fix}, &done, nil); err != nil {
		return err
	}
	fixable := func(r fault.Remedy) bool { return r.Do == fault.ShareFix }
	next := fault.Remedy{Do: fault.ShareStatus, Pool: c.Pool} // which says what was last seen
	if !c.Fix && slices.ContainsFunc(done.Checks, func(c pipe.Check) bool { return slices.ContainsFunc(c.Next, fixable) }) {
		next = fault.Remedy{Do: fault.ShareFix, Pool: c.Pool}
	}
	return checked(a, shareChecks(done.Checks), c.JSON, next)
}

type shareServeCmd struct {
	Pool string `arg:"" optional:"" help:"Name of the pool here; all by default."`
	JSON bool   `name:"json" help:"Print a line of JSON on stdout for each event."`
}

func (c *shareServeCmd) Run(a *app) error {
	err := callShare(a, pipe.Serve, pipe.PoolRequest{Pool: c.Pool}, new(any), func(document json.RawMessage) error {
		var e pipe.ServeEvent
		if err := json.Unmarshal(document, &e); err != nil {
			return err
		}
		if c.JSON {
			return a.printJSON(e)
		}
		a.term.note("%s", serveText(e))
		return nil
	})
	if a.ctx.Err() != nil {
		return nil //nolint:nilerr // Ctrl-C is how it ends
	}
	return err
}
