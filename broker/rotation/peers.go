package rotation

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
)

// Peers are the machines that share an account with this one. For such an account each of
// the four steps is also taken towards them. Package share has the protocol.
type Peers interface {
	// Claim makes this machine the one that may rotate the account of l, for all machines.
	// Before that it brings the folder up to date with what the others have published, and
	// have as well. Nil without an error: nothing is left to do for w. Errors are
	// *fault.Error, and say that nothing was sent.
	Claim(ctx context.Context, have *Stored, l *folder.Rotation, w Wish) (Claimed, error)
}

// Stored is what a folder has of an account. While the account's rotation lock is held, no
// other process changes its grants.
type Stored struct {
	Opened  *folder.Opened
	Account *index.Account
	Grant   *record.Grant // the newest in the keystore; nil: it has none
}

// Claimed is an account that this machine may rotate. It ends with Publish or Fail.
type Claimed interface {
	// Announce tells the machines that the refresh token is about to be sent. It is called
	// when the connection is open and nothing of the body has been sent. Once they know, it
	// calls intent, which writes the local intent, and with it what mark changes. After an
	// error nothing may be sent.
	Announce(ctx context.Context, intent func(mark func(*index.Account)) error) error
	// Sent is called when the last byte of the body has left this process.
	Sent()
	// Publish begins to tell the machines about a new generation, and keeps trying. wait
	// returns when they know, or with the reason why they don't yet.
	Publish(ctx context.Context, g *record.Grant, acc *record.Access) (wait func() error)
	// Fail tells them that no token came: with class Unsent and no failure, that nothing was
	// tried. moved: another machine has published meanwhile, and the folder has that now.
	Fail(ctx context.Context, class oauth.Class, f *index.Failure) (moved bool, err error)
}

// SharedPatience is how long a provider has for an answer about a shared account. The other
// machines count on it.
const SharedPatience = time.Minute

// alone refuses to rotate a shared account without its peers.
func alone(a *index.Account) error {
	e := fault.Errorf(fault.EngineUnreachable, "account %s is shared with other machines, which this program can't ask; nothing was sent", fault.Quote(a.Label)).ItsOwn()
	return e.Try(fault.Remedy{Do: fault.ShareStatus})
}
