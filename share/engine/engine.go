// Package engine is what a shared pool asks of the store that all its machines use: reads that
// see every write before them, and writes that are done only if nobody wrote in between. No
// lock, no lease and no clock is asked for. A package of its own stands behind each kind of
// store; enginetest has the suite that all of them pass, and one in memory.
//
// What the pool rests on is the outcome of a Swap. It is won (acknowledged durably), lost
// (with what is there instead), surely not done, or unknown. An unknown one may still be done
// at any time; only a later won Swap of the same key rules it out.
package engine

import (
	"context"
	"errors"
)

// Version is that of a key's value. It grows with every write of the key, is never used for
// two values, not even when the key is deleted in between, unless the engine is restored from
// a backup, and is 0 where the key is absent.
type Version int64

// Entry is a key with its value. An absent key has Version 0 and no value.
type Entry struct {
	Key     string
	Value   []byte
	Version Version
}

// Identity is what the engine says of itself with an answer. An engine that was restored from
// a backup may have another Cluster, or a lower Revision than before, or neither.
type Identity struct {
	Cluster  string
	Revision int64 // grows with every write of any key
}

// Engine is a connection to the store. Its methods may be used at once. Every error is one of
// the kinds below (errors.Is), and the context's as well where that ended.
type Engine interface {
	// Get reads linearizably. An absent key has Version 0.
	Get(ctx context.Context, key string) (Entry, Identity, error)
	// List reads all keys that begin with prefix linearizably, in their order, as of one
	// revision.
	List(ctx context.Context, prefix string) ([]Entry, Identity, error)
	// Swap sets key to value if its version still is expect (0: only if it is absent); a nil
	// value deletes it. It is sent once. If it is won, now is the entry as written; if not,
	// the one that is there. After ErrUnknown it may be applied, now or later. After any other
	// error it wasn't and won't be.
	Swap(ctx context.Context, key string, expect Version, value []byte) (now Entry, won bool, err error)
	// Changed returns nil once a key that begins with prefix has changed after the revision,
	// at once if it already has. It is only a comfort: it may return nil without a change, and
	// wait until the context ends where the engine is away or was restored meanwhile. The
	// caller reads again in any case.
	Changed(ctx context.Context, prefix string, after int64) error
	// Close ends the connection and what waits on it.
	Close() error
}

// The kinds of errors.
var (
	// ErrUnknown: a Swap was sent and its outcome didn't come back.
	ErrUnknown = errors.New("the outcome of a write is unknown")
	// ErrUnreachable: the engine gave no answer in time, or can't answer at present, or what
	// answers isn't the engine that its certificate should say. A Swap wasn't applied and
	// won't be.
	ErrUnreachable = errors.New("the engine is unreachable")
	// ErrRefused: the engine answered that this machine may not do this, or doesn't take what
	// was sent. To ask again won't help.
	ErrRefused = errors.New("the engine refused")
)
