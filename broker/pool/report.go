package pool

import (
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

// NotStarted is the reason why no rotator could be started: too many processes, say, or the
// program's file was moved away while it ran.
type NotStarted struct{ Err error }

func (e NotStarted) Error() string { return e.Err.Error() }

func (e NotStarted) Unwrap() error { return e.Err }

// tokenJustIssued: the refusal of a token that is no older than this is about the account.
// A newer token would be refused as well.
const tokenJustIssued = 30 * time.Second

// JustIssued reports whether authferry itself received a's token just now.
func JustIssued(a *index.Account, now time.Time) bool {
	return !a.ObtainedAt.IsZero() && now.Sub(a.ObtainedAt) < tokenJustIssued
}

// Noteworthy reports whether v changes anything in the index's entry of a.
func Noteworthy(a *index.Account, v ratelimit.Verdict, scope string, generation int, now time.Time) bool {
	if v.Held() {
		return true
	}
	after := *a
	after.Holds, after.Usage = slices.Clone(a.Holds), slices.Clone(a.Usage)
	if v.Kind == ratelimit.Success {
		Refute(&after, scope)
	}
	Remember(&after, v.Usage, now)
	return Marks(a, v, generation) || len(after.Holds) != len(a.Holds) ||
		!slices.EqualFunc(after.Usage, a.Usage, func(x, y index.Usage) bool { return x.ReportedAt.Equal(y.ReportedAt) && x.Used == y.Used })
}

// Marks reports whether v says something new about a's current access token: the API
// refuses it, or no longer does.
func Marks(a *index.Account, v ratelimit.Verdict, generation int) bool {
	marked := a.RefusedGeneration == a.Generation
	switch {
	case a.Kind == index.KindAPIKey || generation < a.Generation:
		return false
	case v.Kind == ratelimit.Auth:
		return !marked
	}
	return v.Kind == ratelimit.Success && marked
}

// ByPool splits idx by pool, so that looking at every pool looks at each account once. In
// its part a pool has all that a choice needs: its accounts, and its current one even if
// that is in another pool by now.
func ByPool(idx *index.Index) map[string]*index.Index {
	parts := map[string]*index.Index{}
	for _, a := range idx.Accounts {
		part := parts[a.Pool]
		if part == nil {
			part = &index.Index{Pools: idx.Pools, Shares: idx.Shares}
			parts[a.Pool] = part
		}
		part.Accounts = append(part.Accounts, a)
	}
	for name, part := range parts {
		if current := idx.Pools[name].Current; current != "" && part.Account(current) == nil {
			if a := idx.Account(current); a != nil {
				part.Accounts = append(part.Accounts, *a)
			}
		}
	}
	return parts
}
