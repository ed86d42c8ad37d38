package pool

import (
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

// NotStarted is why there is no rotator: too many processes, say, or a program that was
// moved away under one that stays.
type NotStarted struct{ Err error }

func (e NotStarted) Error() string { return e.Err.Error() }

func (e NotStarted) Unwrap() error { return e.Err }

// tokenJustIssued is how old a token is at most for its refusal to be about the
// account: another new one would be refused as well.
const tokenJustIssued = 30 * time.Second

// JustIssued reports that authferry itself saw the token come in a moment ago.
func JustIssued(a *index.Account, now time.Time) bool {
	return !a.ObtainedAt.IsZero() && now.Sub(a.ObtainedAt) < tokenJustIssued
}

// Noteworthy reports whether v changes anything in a's entry.
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

// Marks reports that v tells something new of a's current access token: that the API
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

// ByPool takes idx apart, so that who looks at every pool looks at every account
// once. In each part choose finds what it would find in the whole: the pool's
// accounts, and its current one even where that is another pool's by now.
func ByPool(idx *index.Index) map[string]*index.Index {
	parts := map[string]*index.Index{}
	for _, a := range idx.Accounts {
		part := parts[a.Pool]
		if part == nil {
			part = &index.Index{Pools: idx.Pools}
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
