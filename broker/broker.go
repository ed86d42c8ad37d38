package broker

import (
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

// Options says where a folder is and how long its caller waits; see folder.Options.
type Options = folder.Options

// Broker hands out tokens of the accounts in one folder. It has only its options and is
// cheap to make. Any number of processes may use the same folder; a Broker itself is for
// one goroutine (for more, see Keeper).
type Broker struct {
	*folder.Folder
}

// New makes a Broker. It accesses neither disk nor keystore.
func New(opt Options) *Broker { return &Broker{Folder: folder.New(opt)} }

// rules are those of its folder.
func (b *Broker) rules() pool.Rules { return pool.RulesOf(b.Folder) }
