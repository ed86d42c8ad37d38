package share

import (
	"context"
	"errors"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/share/seal"
)

// listLost is for an engine whose list of the pool's machines is missing, is no machine's, or
// is of before a removal: with fix this machine puts back the one that it saw last, unless
// another one has seen more.
func (x *examination) listLost(ctx context.Context, cause error) error {
	explain := func(what string, next ...fault.Remedy) error {
		return fault.Errorf(fault.CodeOf(cause), "%v; %s", cause, what).Try(next...)
	}
	seen, err := seal.OpenMeta(x.p.Keys, x.p.Pool, x.p.Meta)
	switch {
	case x.p.Role != seal.Holder:
		return explain("a machine that holds the logins can put the list back")
	case err != nil:
		return explain("this machine has no copy of the list, which is kept up to 64 KB; another one that holds the logins may have it")
	}
	later, err := x.joinedSince(ctx, seen)
	switch {
	case err != nil:
		return err
	case later > 0:
		return explain(plural(later, "machine") + " joined after this one saw the list, so another one that holds the logins has a newer list to put back")
	case !x.fix:
		return explain("this machine can put back the list that it saw last, of "+plural(len(seen.Roster.Machines), "machine"), x.fixing()...)
	}
	if err := x.p.change(ctx, x.p.key("meta", ""), func(now []byte) ([]byte, error) {
		_, err := seal.OpenMeta(x.p.Keys, x.p.Pool, now)
		if now == nil || errors.Is(err, seal.ErrOver) || errors.Is(err, seal.ErrForged) || errors.Is(err, seal.ErrMalformed) {
			return x.p.Meta, nil
		}
		return now, nil
	}); err != nil {
		return err
	}
	x.say("engine", checkOK, nil, "put back the list of machines, as this machine saw it last")
	return x.p.members.look(ctx)
}

// joinedSince counts the machines that have keys at the engine and aren't in a list. Beside a
// list of before a removal, those are the ones that were removed: then there are none.
func (x *examination) joinedSince(ctx context.Context, seen *seal.Meta) (n int, err error) {
	e, err := x.p.get(ctx, x.p.key("meta", ""))
	if err != nil {
		return 0, err
	}
	if _, why := seal.OpenMeta(x.p.Keys, x.p.Pool, e.Value); errors.Is(why, seal.ErrOver) {
		return 0, nil
	}
	members, err := x.p.all(ctx, "member")
	for id := range members {
		if seen.Roster.Machine(id) == nil {
			n++
		}
	}
	return n, err
}
