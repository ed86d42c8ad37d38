package broker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/keystore"
)

// TokenRequest says whose token is wanted and how long it must be valid.
type TokenRequest struct {
	pool.Selection
	MinTTL time.Duration
	// Rejected is the lease of a token that the API refused; empty: none. If nothing is
	// selected, it also determines the pool.
	Rejected string
	// User is the label or identity that the caller asks for; empty: any. If the selection
	// allows no account of that name, the error wraps ErrOtherUser.
	User string
	// Origin is where the caller will send the token, in the form of oauth.Origin; empty:
	// the caller obeys Token.Origins. A token that must not be sent there is neither handed
	// out nor refreshed: the error wraps ErrOtherOrigin. If nothing is selected, it also
	// determines the pool.
	Origin string
	// Server is the address of the remote MCP server to which the caller will send the
	// token; empty: to none, or the caller obeys Token.Resource. As with Origin, no other
	// token is handed out. If nothing is selected, it also determines the provider.
	Server string
	// Stay is an account to stay with while it is free, StayBy the Token.Current at the
	// time when it was chosen: if another account has become current since, that one is
	// preferred. Neither pins.
	Stay, StayBy string
	// Except lists accounts that must not be used.
	Except []string
}

// Token is a token that is handed out.
type Token struct {
	AccessToken keystore.Secret
	TokenType   string
	ExpiresAt   time.Time      // in this machine's time; zero: unknown
	Headers     []oauth.Header // all that a request needs
	Origins     []string       // the only origins that they may be sent to
	API         oauth.API      // what the proxy serves with them
	Resource    string         // the only remote MCP server that they are for; empty: they are for none
	Lease       string         // "<account id>.<generation>"
	Account     index.Account
	Current     string // id of the current account of its pool; empty: it has none yet
}

// Lease names a token that was handed out: account and generation.
func lease(account string, generation int) string {
	return account + "." + strconv.Itoa(generation)
}

// ParseLease splits a lease into account and generation. Error: Usage if it is malformed.
func ParseLease(s string) (account string, generation int, err error) {
	account, gen, ok := strings.Cut(s, ".")
	generation, convErr := strconv.Atoi(gen)
	if !ok || convErr != nil || generation < 0 || !index.ValidID(account) {
		return "", 0, fault.Errorf(fault.Usage, "not a lease: a lease looks like acc_k3m….7, as token --json prints it")
	}
	return account, generation, nil
}

// Token returns a valid access token of the selected account. If one with enough time left
// is stored, that takes one read of the index and one of the keystore, and waits for
// nothing. Otherwise the grant is rotated, once for all callers.
//
// If an account that is not pinned has no token now, it is passed over, with a warning, for
// the next one of its pool that has (pool.Choose). Errors are *fault.Error.
func (b *Broker) Token(ctx context.Context, req TokenRequest) (*Token, error) {
	return b.handOut(ctx, b.wanted(ctx, req), req.MinTTL)
}

// asked resolves whose token req asks for, and which generation of it was rejected.
func (b *Broker) asked(idx *index.Index, req TokenRequest) (sel pool.Selected, rejected int, err error) {
	if req.Rejected == "" {
		sel, err = b.rules().Resolve(idx, req.Selection)
		return sel, 0, err
	}
	id, generation, err := ParseLease(req.Rejected)
	if err != nil {
		return sel, 0, err
	}
	a, err := pool.Leased(idx, id)
	if err != nil {
		return sel, 0, err
	}
	if sel, err = b.rules().ResolveLease(idx, req.Selection, a); err == nil {
		sel, err = sel.Narrow(a)
	}
	return sel, min(generation, a.Generation), err
}

// serving is how an account's token is wanted.
type serving struct {
	minTTL time.Duration
	floor  int    // newer than this generation
	alone  bool   // no other account can be used instead
	origin string // the token is for this origin; empty: any
	server string // the token is for this remote MCP server; empty: any
	// asIs: the caller doesn't wait for a refresh; quiet: none is started behind it either.
	asIs, quiet bool
	failed      error  // why its refresh failed already; nil: it did not
	waits       func() // called before waiting for others; may be nil
}

func (want serving) allows(origins []string, resource, address string) bool {
	if want.server != "" {
		return oauth.Covers(resource, want.server) && oauth.Covers(address, want.server)
	}
	return want.origin == "" || slices.Contains(origins, want.origin)
}

// serve returns a token of a, and refreshes it first if that is needed. A valid token is
// never withheld because of a lock, a refresh, a limit or an outage. If the login is dead
// or the API refused the token, it is withheld only if another account can be used.
func (b *Broker) serve(ctx context.Context, idx *index.Index, a *index.Account, want serving) (*Token, error) {
	if !b.Folder.Memory.Has(idx, a) {
		if _, err := b.Folder.Open(idx); err != nil {
			return nil, err
		}
	}
	if a.Kind == index.KindAPIKey {
		tok, err := b.serveAPIKey(ctx, idx, a, want)
		if err == nil {
			return tok, nil
		}
		// The index may have changed since it was read.
		now, readErr := b.Folder.Read()
		if readErr != nil {
			return nil, err
		}
		na := now.Account(a.ID)
		if na == nil || na.Removing || na.Generation == a.Generation && now.Keystore == idx.Keystore {
			return nil, err
		}
		return b.serveAPIKey(ctx, now, na, want)
	}
	if pool.LongLived(a) && want.floor >= a.Generation {
		if err := b.refuseLongLived(ctx, a); err != nil {
			return nil, err
		}
	}
	failure := want.failed
	var err error
	for try := 0; ; try++ {
		// Many callers come when a token expires. They need not ask the keychain if the
		// index says that it has expired, nor after a failure that the rotator has
		// examined. But only the keychain knows where a token may be sent.
		over := want.origin == "" && want.server == "" && a.Fingerprint != "" && pool.SeemsOver(a, time.Now()) && (try == 0 || a.Failure != nil && a.Failure.TokenOver)
		var acc *record.Access
		if !over {
			if acc, err = b.Folder.Access(ctx, idx, a); err != nil {
				return nil, err
			}
		}
		if acc == nil && failure != nil && !over {
			o, err := b.Folder.Open(idx)
			if err != nil {
				return nil, err
			}
			if acc, err = o.Store.LatestAccess(ctx, a.ID, a.Generation); err != nil {
				return nil, err
			}
		}
		if acc != nil && !want.allows(acc.Origins, acc.Resource, acc.Address) {
			return nil, otherOrigin(a, acc.Origins, cmp.Or(want.server, want.origin))
		}
		worn := pool.Refused(a)
		if acc != nil && acc.Generation > want.floor {
			state := acc.Judge(time.Now(), want.minTTL, idx.Store)
			switch {
			case worn || state == record.Stale:
			case state == record.Soft && !want.quiet:
				rotation.Behind(b.Folder, a)
				return tokenOf(acc, a), nil
			default:
				return tokenOf(acc, a), nil
			}
			elsewhere := pool.RejectedForGood(a) || !want.alone && (worn || fault.CodeOf(failure) == fault.LoginNeeded)
			last := failure != nil || a.Fingerprint == "" || want.asIs || try == 3
			if left, _ := acc.Remaining(time.Now()); left > 0 && !elsewhere && last {
				warnServed(b, a, left, failure, worn)
				return tokenOf(acc, a), nil
			}
		}
		switch {
		case failure != nil:
			return nil, failure
		case try == 3:
			return nil, fault.Errorf(fault.ProviderRefused, "the provider of account %s issues tokens that have already expired; is this machine's clock right?", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(idx, a)})
		case acc == nil && try == 0 && !over:
			// The index may have changed since it was read.
			now, err := b.Folder.Read()
			if err != nil {
				return nil, err
			}
			if na := now.Account(a.ID); na != nil && (na.Generation != a.Generation || na.AccessSlot != a.AccessSlot || now.Keystore != idx.Keystore) {
				idx, a = now, na
				if _, err := b.Folder.Open(idx); err != nil {
					return nil, err
				}
				continue
			}
		}
		if want.asIs {
			return nil, fault.Errorf(fault.ProviderRefused, "account %s has no valid token, and none is requested now", fault.Quote(a.Label))
		}
		if want.waits != nil {
			want.waits()
		}
		failure = rotation.Renew(ctx, b.Folder, a, rotation.Wish{Beyond: a.Generation, Rejected: worn && pool.Lives(a, time.Now()) || want.floor > 0 && a.Generation <= want.floor})
		if idx, err = b.Folder.Read(); err != nil {
			return nil, err
		}
		label := a.Label
		if a = idx.Account(a.ID); a == nil || a.Removing {
			return nil, fault.Errorf(fault.NoAccount, "account %s was removed meanwhile", fault.Quote(label))
		}
		if _, err := b.Folder.Open(idx); err != nil {
			return nil, err
		}
	}
}

// warnServed warns about what is wrong with a token that is handed out because there is no
// better one.
func warnServed(b *Broker, a *index.Account, left time.Duration, failure error, worn bool) {
	m := "account " + fault.Quote(a.Label) + ": the token is valid for only " + humantime.Span(left) + " more"
	if worn {
		m = "account " + fault.Quote(a.Label) + ": the API refused this token"
	}
	if failure != nil {
		m += " and could not be refreshed: " + failure.Error()
	}
	b.Folder.Warn(m)
}

func (b *Broker) serveAPIKey(ctx context.Context, idx *index.Index, a *index.Account, want serving) (*Token, error) {
	if want.floor >= a.Generation {
		return nil, fault.Errorf(fault.ProviderRefused, "the API key of account %s was refused, and a key can't be refreshed", fault.Quote(a.Label)).
			Try(pool.Renewal(a)).ItsOwn()
	}
	g, err := b.Folder.APIKey(ctx, idx, a)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, pool.Lost(a)
	}
	if !want.allows(g.Origins, "", "") { // a key is never for a remote MCP server
		return nil, otherOrigin(a, g.Origins, cmp.Or(want.server, want.origin))
	}
	return &Token{
		AccessToken: g.APIKey, TokenType: "Bearer",
		Headers: oauth.Expand(g.Headers, g.APIKey), Origins: g.Origins, API: g.API,
		Lease: lease(a.ID, g.Generation), Account: *a,
	}, nil
}

func tokenOf(acc *record.Access, a *index.Account) *Token {
	return &Token{
		AccessToken: acc.AccessToken, TokenType: acc.TokenType, ExpiresAt: acc.ExpiresAt,
		Headers: oauth.Expand(acc.Headers, acc.AccessToken), Origins: acc.Origins, API: acc.API, Resource: acc.Resource,
		Lease: lease(acc.Account, acc.Generation), Account: *a,
	}
}

// refuseLongLived records that the API refused a's long-lived token, and returns the error
// for that. Nil: a has another token by now.
func (b *Broker) refuseLongLived(ctx context.Context, a *index.Account) error {
	now := time.Now()
	v := ratelimit.Verdict{Kind: ratelimit.Auth, Until: now.Add(ratelimit.FirstGuess), Scope: ratelimit.AllScopes, Source: pool.RejectedSource}
	_, after, err := b.record(ctx, a.ID, v, "", a.Generation, now, &ReportResult{})
	switch {
	case err != nil:
		return err
	case after.Generation > a.Generation:
		return nil
	case pool.WantsLogin(after, now):
		return pool.LoginNeeded(after)
	}
	return fault.Errorf(fault.ProviderRefused, "the token of account %s was refused, and it can't be refreshed", fault.Quote(a.Label)).Try(pool.Renewal(a)).ItsOwn()
}
