package seal

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// State is how far a rotation is.
type State string

// The states.
const (
	Idle    State = "idle"
	Claimed State = "claimed" // a machine is about to announce
	Sending State = "sending" // its refresh token was or will be sent
	Dead    State = "dead"    // the provider refused the refresh token for good
)

// Claim says who wants to rotate.
type Claim struct {
	Machine string `json:"machine"`
	Nonce   string `json:"nonce"`
	Attempt int    `json:"attempt"` // 1; more for a recovery
	// Announced: this very attempt is about to be sent, or was. In state Sending without it,
	// only an attempt before it was.
	Announced bool `json:"announced,omitempty"`
	// Passing: the announced attempt is that of a machine that may never come back, or
	// nobody waits for its answer any more.
	Passing bool `json:"passing,omitempty"`
}

// Failure says why the last rotation failed. Its times are by the clock of the machine that
// failed.
type Failure struct {
	Class     string    `json:"class"`
	Count     int       `json:"count"`
	At        time.Time `json:"at,omitzero"`
	NextTryAt time.Time `json:"next_try_at,omitzero"`
	Stated    bool      `json:"stated,omitempty"` // NextTryAt is what the provider asked for
}

// Public is what every machine of a pool may know of an account. The engine's operator
// doesn't.
type Public struct {
	Label        string `json:"label"`
	Provider     string `json:"provider"`
	Kind         string `json:"kind"`
	Rank         int    `json:"rank"`
	Disabled     bool   `json:"disabled,omitempty"`
	Removing     bool   `json:"removing,omitempty"` // it was taken out of the pool: machines delete it
	Keeper       string `json:"keeper,omitempty"`   // the machine that keeps it as its own then
	Identity     string `json:"identity,omitempty"`
	Issuer       string `json:"issuer,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Organization string `json:"organization,omitempty"`
}

// Contents is what is sealed in a record.
type Contents struct {
	Pool    string // id of the shared pool
	Account string
	Gen     int // the pool's generation of the grant, from 1
	// Grant is nil where the ring has no key for it (see LocalGrant).
	Grant *record.Grant
	// Client is the client's secret or registration, if the grant needs one.
	Client *record.ClientSecret
	// Access is nil if that generation has no access token, or the ring may not open it.
	Access *record.Access
	Public Public
}

// Record is what the engine has of an account. State, Claim and Failure may be changed and
// encoded again; for other changes there is Seal.
type Record struct {
	Contents

	State   State
	FP      string // Fingerprint of the grant
	Epoch   int    // of the keys that it is sealed to and signed with
	Claim   *Claim
	Failure *Failure
	// WithKeys: the account is an API key or a long-lived token. There is nothing that could
	// be kept from a consumer, so it opens it all if it was invited with keys, else nothing.
	WithKeys bool

	sealed sealedParts
}

type sealedParts struct {
	Grant  []byte `json:"grant"`
	Access []byte `json:"access,omitempty"`
	Public []byte `json:"public"`
}

type recordWire struct {
	V        int         `json:"v"`
	Gen      int         `json:"gen"`
	State    State       `json:"state"`
	FP       string      `json:"fp,omitempty"`
	Epoch    int         `json:"epoch"`
	WithKeys bool        `json:"with_keys,omitempty"`
	Claim    *Claim      `json:"claim,omitempty"`
	Failure  *Failure    `json:"failure,omitempty"`
	Sealed   sealedParts `json:"sealed"`
	Sig      []byte      `json:"sig,omitempty"`
}

// grantBody is the plain text of the sealed grant.
type grantBody struct {
	Grant  json.RawMessage      `json:"grant"`
	Client *record.ClientSecret `json:"client,omitempty"`
}

// Seal makes the idle record of c, with the newest keys of a holder's ring. It sets Share
// and PoolGeneration of the grant and the access record that it seals; c's own are not
// changed. Errors: ErrKeys if the ring isn't a holder's, ErrForged if c doesn't belong
// together, ErrTooBig.
func Seal(ring Ring, c Contents) (*Record, error) {
	keys := ring.Newest()
	if !keys.Holder() || keys.Secret.Empty() {
		return nil, ErrKeys
	}
	if c.Grant == nil {
		return nil, ErrForged
	}
	g := *c.Grant
	g.Share, g.PoolGeneration, g.Login = c.Pool, c.Gen, false
	c.Grant = &g
	if c.Access != nil {
		acc := *c.Access
		acc.PoolGeneration = c.Gen
		c.Access = &acc
	}
	r := &Record{Contents: c, State: Idle, FP: Fingerprint(&g), Epoch: keys.Epoch, WithKeys: isKey(&g)}
	if err := r.check(); err != nil {
		return nil, err
	}
	grant, err := g.Encode()
	if err != nil {
		return nil, ErrMalformed
	}
	body, err := encode(grantBody{json.RawMessage(grant.Reveal()), c.Client})
	if err != nil {
		return nil, err
	}
	if r.sealed.Grant, err = r.seal(r.grantKey(keys), "grant", keystore.NewSecret(string(body))); err != nil {
		return nil, err
	}
	if c.Access != nil {
		access, err := c.Access.Encode()
		if err != nil {
			return nil, ErrMalformed
		}
		if r.sealed.Access, err = r.seal(r.accessKey(keys), "access", access); err != nil {
			return nil, err
		}
	}
	public, err := encode(c.Public)
	if err != nil {
		return nil, err
	}
	if r.sealed.Public, err = r.seal(keys.Access, "public", keystore.NewSecret(string(public))); err != nil {
		return nil, err
	}
	_, err = r.Encode(ring) // is it too big?
	return r, err
}

// LocalGrant returns the grant that a machine stores of r, with the folder's generation to
// be set: r's own, or for a consumer one without a secret, which says where the access token
// may go. Nil: this machine may not use the account.
func (r *Record) LocalGrant() *record.Grant {
	if r.Grant != nil {
		g := *r.Grant
		return &g
	}
	if r.WithKeys {
		return nil
	}
	p := r.Public
	g := &record.Grant{
		Account: r.Account, Provider: p.Provider, Share: r.Pool, PoolGeneration: r.Gen, Mark: r.FP,
		Owner: oauth.Identity{Issuer: p.Issuer, Subject: p.Subject, Organization: p.Organization},
	}
	if acc := r.Access; acc != nil {
		g.Headers, g.Origins, g.API, g.Endpoint.Resource, g.Service.Address = acc.Headers, acc.Origins, acc.API, acc.Resource, acc.Address
	}
	return g
}

// Fingerprint identifies what must not be spent twice, or, for a long-lived token, that
// token.
func Fingerprint(g *record.Grant) string {
	return cmp.Or(g.Fingerprint(), g.TokenFingerprint)
}

// isKey reports whether g's access token is all that there is.
func isKey(g *record.Grant) bool { return !g.APIKey.Empty() || g.TokenFingerprint != "" }

// Reseal seals and signs r with the newest keys of a holder's ring, and changes nothing else.
func (r *Record) Reseal(ring Ring) (*Record, error) {
	if r.Grant == nil {
		return nil, ErrKeys
	}
	next, err := Seal(ring, r.Contents)
	if err != nil {
		return nil, err
	}
	next.State, next.Claim, next.Failure = r.State, r.Claim, r.Failure
	return next, nil
}

// WithPublic is r with other words to all machines. It is encoded with the keys of r's epoch,
// and changes nothing else. Error: ErrKeys if the ring has none of that epoch.
func (r *Record) WithPublic(ring Ring, public Public) (*Record, error) {
	body, err := encode(public)
	if err != nil {
		return nil, err
	}
	next := *r
	next.Public = public
	next.sealed.Public, err = r.seal(ring.Of(r.Epoch).Access, "public", keystore.NewSecret(string(body)))
	return &next, err
}

// grantKey and accessKey are the keys that r's parts are sealed to.
func (r *Record) grantKey(k Keys) keystore.Secret {
	if r.WithKeys {
		return k.Secret
	}
	return k.Grant
}

func (r *Record) accessKey(k Keys) keystore.Secret {
	if r.WithKeys {
		return k.Secret
	}
	return k.Access
}

func (r *Record) place(what string) part {
	return part{What: what, Pool: r.Pool, Of: r.Account, Gen: r.Gen, FP: r.FP, Epoch: r.Epoch}
}

func (r *Record) seal(to keystore.Secret, what string, body keystore.Secret) ([]byte, error) {
	recipient, err := recipientOf(to)
	if err != nil {
		return nil, err
	}
	return sealTo(recipient, r.place(what), body)
}

// check compares what is inside with what is outside, and the parts with each other.
func (r *Record) check() error {
	if !index.ValidID(r.Account) || r.Gen < 1 || !index.ValidCount(r.Gen) {
		return ErrMalformed
	}
	g, acc := r.Grant, r.Access
	switch {
	case g != nil && (g.Account != r.Account || g.Share != r.Pool || g.PoolGeneration != r.Gen || Fingerprint(g) != r.FP):
		return ErrForged
	case g != nil && r.WithKeys != isKey(g):
		return ErrForged
	case g != nil && r.Client != nil && (r.Client.TokenEndpoint != g.Endpoint.TokenEndpoint || r.Client.ClientID != g.Endpoint.ClientID):
		return ErrForged
	case acc != nil && (acc.Account != r.Account || acc.PoolGeneration != r.Gen):
		return ErrForged
	case g != nil && acc != nil && !sameDestination(g, acc):
		return ErrForged
	}
	return nil
}

// sameDestination reports whether the access token goes only where the grant says.
func sameDestination(g *record.Grant, acc *record.Access) bool {
	return slices.Equal(g.Origins, acc.Origins) && slices.Equal(g.Headers, acc.Headers) &&
		g.API.Base == acc.API.Base && slices.Equal(g.API.Paths, acc.API.Paths) &&
		g.Endpoint.Resource == acc.Resource && g.Service.Address == acc.Address
}

func (r *Record) wire() recordWire {
	return recordWire{V: version, Gen: r.Gen, State: r.State, FP: r.FP, Epoch: r.Epoch, WithKeys: r.WithKeys, Claim: r.Claim, Failure: r.Failure, Sealed: r.sealed}
}

// Encode returns r as the engine stores it, signed with the keys of its epoch. Error:
// ErrKeys if the ring doesn't have them; ErrTooBig.
func (r *Record) Encode(ring Ring) ([]byte, error) {
	w := r.wire()
	if err := w.check(); err != nil {
		return nil, err
	}
	text, err := message("account", r.Pool, r.Account, w)
	if err != nil {
		return nil, err
	}
	if w.Sig, err = sign(ring.Of(r.Epoch).Sign, text); err != nil {
		return nil, err
	}
	return encodeValue(w)
}

// Open reads the record that the engine has of an account. What the ring has no key for is
// nil. Error: one of the Err… values; for ErrKeys later keys may have been handed out (Meta,
// Member).
func Open(ring Ring, pool, account string, value []byte) (*Record, error) {
	var w recordWire
	if err := decode(value, &w); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	keys := ring.Of(w.Epoch)
	switch {
	case len(ring) > 0 && w.Epoch < ring[0].Epoch:
		return nil, ErrOver
	case keys.Epoch == 0:
		return nil, ErrKeys
	}
	sig := w.Sig
	w.Sig = nil
	text, err := message("account", pool, account, w)
	if err != nil {
		return nil, err
	}
	if !verified(keys.Verify, text, sig) {
		return nil, ErrForged
	}
	r := &Record{
		Contents: Contents{Pool: pool, Account: account, Gen: w.Gen},
		State:    w.State, FP: w.FP, Epoch: w.Epoch, Claim: w.Claim, Failure: w.Failure, WithKeys: w.WithKeys, sealed: w.Sealed,
	}
	if err := r.open(keys); err != nil {
		return nil, err
	}
	return r, r.check()
}

func (r *Record) open(keys Keys) error {
	public, err := unseal(keys.Access, r.sealed.Public, r.place("public"))
	if err != nil {
		return err
	}
	if json.Unmarshal([]byte(public.Reveal()), &r.Public) != nil {
		return ErrForged
	}
	if to := r.accessKey(keys); len(r.sealed.Access) > 0 && !to.Empty() {
		body, err := unseal(to, r.sealed.Access, r.place("access"))
		if err != nil {
			return err
		}
		if r.Access, err = record.DecodeAccess(body); err != nil {
			return ErrForged
		}
	}
	key := r.grantKey(keys)
	if key.Empty() {
		return nil
	}
	body, err := unseal(key, r.sealed.Grant, r.place("grant"))
	if err != nil {
		return err
	}
	var inside grantBody
	if json.Unmarshal([]byte(body.Reveal()), &inside) != nil {
		return ErrForged
	}
	r.Client = inside.Client
	if r.Grant, err = record.DecodeGrant(keystore.NewSecret(string(inside.Grant))); err != nil {
		return ErrForged
	}
	return nil
}

func (w *recordWire) check() error {
	if err := checkVersion(w.V, w.Epoch); err != nil {
		return err
	}
	c, f := w.Claim, w.Failure
	switch {
	case w.Gen < 1, !index.ValidCount(w.Gen), len(w.Sealed.Grant) == 0, len(w.Sealed.Public) == 0, len(w.FP) > 64,
		!slices.Contains([]State{Idle, Claimed, Sending, Dead}, w.State),
		(w.State == Claimed || w.State == Sending) != (c != nil),
		c != nil && (!index.ValidMachineID(c.Machine) || c.Nonce == "" || len(c.Nonce) > 64 || c.Attempt < 1 || !index.ValidCount(c.Attempt)),
		f != nil && (!index.ValidCount(f.Count) || len(f.Class) > 64):
		return ErrMalformed
	}
	return nil
}
