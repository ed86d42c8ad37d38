package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/cmd/authferry/helper"
	"github.com/authferry/authferry/version"
)

// helperCmd speaks the protocols by which programs ask a helper for a credential.
type helperCmd struct {
	APIKey     apiKeyCmd     `cmd:"" name:"api-key" help:"Print the token alone, for a program that runs a command to get its key."`
	ProxyKey   proxyKeyCmd   `cmd:"" name:"proxy-key" help:"Print the key of the authferry serve that is running."`
	MCPHeaders mcpHeadersCmd `cmd:"" name:"mcp-headers" help:"Print the headers of a request to a remote MCP server as JSON (Claude Code, Codex)."`
	GoAuth     goAuthCmd     `cmd:"" name:"goauth" help:"Answer the go command (GOAUTH)."`
	Git        gitCmd        `cmd:"" help:"Answer git (credential.helper)."`
	Docker     dockerCmd     `cmd:"" help:"Answer docker (credHelpers)."`
	Kubernetes kubernetesCmd `cmd:"" help:"Answer kubectl and others (users.user.exec)."`
	Cargo      cargoCmd      `cmd:"" help:"Answer cargo (credential-provider)."`
	Terraform  terraformCmd  `cmd:"" help:"Answer Terraform and OpenTofu (credentials_helper)."`
}

// links are the names under which programs look for their helper.
var links = map[string]string{
	"docker-credential-authferry":     "docker",
	"git-credential-authferry":        "git",
	"terraform-credentials-authferry": "terraform",
}

// helperArgs are the arguments as if the program had been called by its own name. Cargo
// calls its provider by path, with just --cargo-plugin.
func helperArgs(program string, args []string) []string {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(program)), ".exe")
	if protocol, ok := links[name]; ok {
		return append([]string{"helper", protocol}, args...)
	}
	if len(args) > 0 && args[0] == "--cargo-plugin" {
		return append([]string{"helper", "cargo"}, args...)
	}
	return args
}

// whose are the flags that tell a helper whose token to hand out.
type whose struct {
	which
	MinTTL time.Duration `name:"min-ttl" default:"5m" help:"Refresh first if the token is valid for less."`
}

func (w whose) selection() selection { return selection{which: w.which} }

// told reports whether flags or environment say whose token it is.
func told(s selection) bool {
	return cmp.Or(s.Account, s.Pool, os.Getenv("AUTHFERRY_ACCOUNT"), os.Getenv("AUTHFERRY_POOL")) != ""
}

// mustBeTold is for protocols that name no host: a program that runs a helper can't be
// asked back, and a private pool must not be used just because it is the only one.
func mustBeTold(s selection) error {
	if told(s) {
		return nil
	}
	return &fault.Error{Code: fault.Usage, Message: "it is not clear which account's token to print",
		Next: []fault.Remedy{{Do: fault.Again, Account: "ACCOUNT"}, {Do: fault.Again, Pool: "POOL"}}}
}

// target is where a program will send a token, as one of the token's origins; empty: it
// obeys those. user is the user name in its URL, if there is one. asked: the program asks
// for a token, so a person may need to know why it gets none.
type target struct {
	origin, user string
	asked        bool
}

// tokenFor is a token for to. Nil: none of the selected accounts' tokens may be sent there,
// or none is that user's. If the accounts were selected explicitly, that is said on stderr,
// because the protocols have no message for it.
func tokenFor(a *app, to target, w whose, minTTL time.Duration, rejected string) (*broker.Token, error) {
	if minTTL < 0 {
		return nil, &fault.Error{Code: fault.Usage, Message: "--min-ttl can't be negative"}
	}
	t, err := a.broker.Token(a.ctx, broker.TokenRequest{Selection: w.selection().resolve(), MinTTL: minTTL, Rejected: rejected, Origin: to.origin, User: to.user})
	switch {
	case errors.Is(err, broker.ErrOtherOrigin), errors.Is(err, broker.ErrOtherUser):
		if e, ok := errors.AsType[*fault.Error](err); ok && to.asked && told(w.selection()) {
			a.term.warn(inALine(a, repairable(a, &fault.Error{Code: e.Code, Message: e.Message, Next: e.Next})).Error())
		}
		return nil, nil
	case err != nil && a.ctx.Err() != nil:
		return nil, errInterrupted
	}
	return t, err
}

// repairable is e with the origin that its provider may lack.
func repairable(a *app, e *fault.Error) *fault.Error {
	if len(e.Next) == 0 || e.Next[0].Do != fault.AmendProvider {
		return e
	}
	p, err := a.folder.Provider(e.Next[0].Provider)
	switch {
	case err != nil:
	case len(p.APIOrigins) > 0: // it has one since the login
		e.Next = e.Next[1:]
	default:
		e.Next[0] = nameOrigin(p)
	}
	return e
}

// inALine is err with its hint in one line, because programs quote a helper's words within
// their own.
func inALine(a *app, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	hint, _, _ := strings.Cut(a.term.hints.of(e), "\n")
	if hint == "" {
		return err
	}
	return &fault.Error{Code: e.Code, Message: e.Error() + " (" + hint + ")", RetryAt: e.RetryAt}
}

// malformed is the error for a request that can't be answered.
func malformed(err error) error {
	return &fault.Error{Code: fault.Usage, Message: err.Error()}
}

// print writes an encoder's document, or returns the encoder's error.
func (a *app) print(document []byte, err error) error {
	if err == nil {
		_, err = a.out.Write(document)
	}
	return err
}

type apiKeyCmd struct {
	selection
	MinTTL time.Duration `name:"min-ttl" default:"5m" help:"Refresh first if the token is valid for less."`
}

func (c *apiKeyCmd) Run(a *app) error {
	if err := mustBeTold(c.selection); err != nil {
		return err
	}
	return inALine(a, (&tokenCmd{selection: c.selection, MinTTL: c.MinTTL}).Run(a))
}

type gitCmd struct {
	whose
	Username string `default:"oauth2" help:"User name that goes with the token, unless the URL has one."`
	Op       string `arg:"" name:"operation" help:"get, erase, store or capability; git appends it."`
}

// Run ignores store, because the login is stored already. erase says that the server
// refused the token; if it is still the current one, it is refreshed.
func (c *gitCmd) Run(a *app) error {
	r, err := helper.ParseGit(c.Op, a.input())
	switch {
	case err != nil:
		return malformed(err)
	case r.Op == helper.Capability:
		return a.print([]byte(helper.GitCapabilities), nil)
	case r.Origin == "" && r.Op == helper.Get && told(c.selection()):
		a.term.warn("this address gets no token: it is not https, and not on this machine")
		return nil
	case r.Origin == "" || r.Op == helper.Erase && r.Refused.Empty():
		return nil
	}
	to := target{origin: r.Origin, user: r.Username, asked: r.Op == helper.Get}
	if r.Username == c.Username || helper.AnyUser(r.Username) {
		to.user = ""
	}
	minTTL := c.MinTTL
	if r.Op == helper.Erase {
		minTTL = 0
	}
	t, err := tokenFor(a, to, c.whose, minTTL, "")
	switch {
	case err != nil:
		return inALine(a, err)
	case t == nil:
		return nil
	case r.Op == helper.Get:
		return a.print(helper.EncodeGit(r, c.Username, t))
	case refused(r, t):
		_, err = tokenFor(a, to, c.whose, 0, t.Lease)
	}
	return inALine(a, err)
}

// refused reports whether the erase is about t.
func refused(r helper.Git, t *broker.Token) bool { return r.Refused.Equal(t.AccessToken) }

type dockerCmd struct {
	whose
	Username string `default:"oauth2accesstoken" help:"User name that goes with the token."`
	Op       string `arg:"" name:"operation" help:"get, list, store, erase or version; docker appends it."`
}

// Run reports errors on stdout, because docker shows nothing else.
func (c *dockerCmd) Run(a *app) error {
	document, err := c.answer(a)
	if err == nil {
		return a.print(document, nil)
	}
	if _, err := a.out.Write([]byte(printable(inALine(a, err).Error()) + "\n")); err != nil {
		return err
	}
	return &childError{code: exitOther}
}

func (c *dockerCmd) answer(a *app) ([]byte, error) {
	r, err := helper.ParseDocker(c.Op, a.input())
	if err != nil {
		return nil, err
	}
	var t *broker.Token
	switch {
	case r.Op == helper.Version:
		return []byte("authferry " + version.String() + "\n"), nil
	case r.Origin != "", r.Op == helper.List && told(c.selection()):
		if t, err = tokenFor(a, target{origin: r.Origin, user: r.User, asked: r.Op == helper.Get}, c.whose, c.MinTTL, ""); err != nil {
			return nil, err
		}
	}
	switch r.Op {
	case helper.List:
		return helper.EncodeDockerList(c.Username, t)
	case helper.Store:
		if t != nil && t.AccessToken.Equal(r.Secret) {
			return nil, nil // docker login, with a token that came from here
		}
		return nil, &fault.Error{Message: "authferry takes no logins from docker; nothing was stored", Next: []fault.Remedy{{Do: fault.ListProviders}}}
	case helper.Erase:
		if t == nil {
			return nil, nil
		}
		return nil, &fault.Error{Message: "docker can't end this login; it was kept", Next: []fault.Remedy{{Do: fault.Remove, Account: t.Account.ID}}}
	}
	if t == nil {
		return nil, helper.ErrDockerNotFound
	}
	return helper.EncodeDocker(r, c.Username, t)
}

type kubernetesCmd struct{ whose }

func (c *kubernetesCmd) Run(a *app) error {
	r, err := helper.ParseKubernetes(os.Getenv("KUBERNETES_EXEC_INFO"))
	if err != nil {
		return malformed(err)
	}
	if !r.Cluster {
		if err := mustBeTold(c.selection()); err != nil {
			return inALine(a, err)
		}
	}
	var t *broker.Token
	if r.Origin != "" || !r.Cluster {
		if t, err = tokenFor(a, target{origin: r.Origin, user: r.User, asked: true}, c.whose, c.MinTTL, ""); err != nil {
			return inALine(a, err)
		}
	}
	if t == nil {
		return &fault.Error{Code: fault.Fenced, Message: "no token here is for the cluster's server; nothing was printed (authferry token --json shows a token's origins)"}
	}
	return a.print(helper.EncodeKubernetes(r, t))
}

type terraformCmd struct {
	whose
	At   map[string]string `mapsep:"none" placeholder:"HOST=ACCOUNT" help:"For this host, the account with this id or else the pool of this name; may be repeated."`
	Op   string            `arg:"" name:"operation" help:"get, store or forget; Terraform appends it, and the host."`
	Host string            `arg:"" help:"HOST or HOST:PORT, always https."`
}

func (c *terraformCmd) Run(a *app) error {
	r, err := helper.ParseTerraform(c.Op, c.Host)
	switch {
	case err != nil:
		return malformed(err)
	case r.Op == helper.Store:
		return &fault.Error{Code: fault.Fenced, Message: "authferry takes no logins from terraform; nothing was stored (authferry login PROVIDER)"}
	case r.Op == helper.Forget:
		return &fault.Error{Code: fault.Fenced, Message: "terraform can't end this login; it was kept (authferry remove ACCOUNT)"}
	}
	var t *broker.Token
	switch w, named := c.at(r.Origin); {
	case r.Origin == "":
	case !named:
		a.term.warn("authferry is not set up for " + c.Host + " in Terraform")
	default:
		if t, err = tokenFor(a, target{origin: r.Origin, asked: true}, w, c.MinTTL, ""); err != nil {
			return inALine(a, err)
		}
	}
	if t == nil {
		return a.print([]byte(helper.TerraformNone), nil)
	}
	return a.print(helper.EncodeTerraform(t))
}

// at says whose token a host gets; false: the host is none of those that are named.
func (c *terraformCmd) at(origin string) (whose, bool) {
	for host, name := range c.At {
		if named, err := helper.ParseTerraform(string(helper.Get), host); err != nil || named.Origin != origin {
			continue
		}
		w := c.whose
		w.Account, w.Pool = "", name
		if strings.HasPrefix(name, "acc_") {
			w.Account, w.Pool = name, ""
		}
		return w, true
	}
	return c.whose, len(c.At) == 0 || told(c.selection())
}

type cargoCmd struct {
	whose
	CargoPlugin bool `name:"cargo-plugin" hidden:"" help:"Cargo says this and nothing else; the rest comes on stdin."`
}

// Run answers requests, one a line, until cargo closes stdin.
func (c *cargoCmd) Run(a *app) error {
	if err := a.print([]byte(helper.CargoHello), nil); err != nil {
		return err
	}
	lines := bufio.NewScanner(a.input())
	lines.Buffer(nil, helper.MaxInput)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		document, failure := c.answer(a, lines.Bytes())
		if failure != nil {
			failure.Message = printable(failure.Message)
			var err error
			if document, err = helper.EncodeCargoError(failure); err != nil {
				return err
			}
		}
		if err := a.print(document, nil); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return a.print(helper.EncodeCargoError(&helper.CargoError{Kind: helper.CargoOther, Message: "a request is over 1 MiB"}))
	}
	return lines.Err()
}

func (c *cargoCmd) answer(a *app, line []byte) ([]byte, *helper.CargoError) {
	r, failure := helper.ParseCargo(line)
	if failure != nil {
		return nil, failure
	}
	w, err := c.configured(a, r.Args)
	switch {
	case err != nil:
		return nil, &helper.CargoError{Kind: helper.CargoOther, Message: err.Error()}
	case r.Op != "get":
		return nil, &helper.CargoError{Kind: helper.CargoOperationNotSupported}
	case r.Origin == "":
		return nil, &helper.CargoError{Kind: helper.CargoURLNotSupported}
	}
	t, err := tokenFor(a, target{origin: r.Origin, user: r.User, asked: true}, w, w.MinTTL, "")
	if err == nil && t == nil {
		return nil, &helper.CargoError{Kind: helper.CargoURLNotSupported}
	}
	var document []byte
	if err == nil {
		document, err = helper.EncodeCargo(t)
	}
	if err != nil {
		return nil, &helper.CargoError{Kind: helper.CargoOther, Message: inALine(a, err).Error()}
	}
	return document, nil
}

// configured parses the words after the program in cargo's configuration, which are those
// of this command: "helper cargo --account Work".
func (c *cargoCmd) configured(a *app, words []string) (whose, error) {
	if len(words) == 0 {
		return c.whose, nil
	}
	if len(words) >= 2 && words[0] == "helper" && words[1] == "cargo" {
		words = words[2:]
	}
	parsed, _, err := parse(append([]string{"helper", "cargo"}, words...), streams{in: a.in, out: a.err, err: a.err})
	if err != nil {
		return whose{}, errors.New("the arguments of credential-provider can't be read: " + err.Error())
	}
	own, ok := reflect.TypeAssert[*cargoCmd](parsed.Selected().Target.Addr())
	if !ok {
		return whose{}, errors.New("the arguments of credential-provider must be: helper cargo [--account ACCOUNT | --pool POOL]")
	}
	return own.whose, nil
}
