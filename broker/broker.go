package broker

import (
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

// Options says where a Broker lives and how long its caller is ready to wait.
type Options = folder.Options

// Broker hands out tokens of the accounts in one folder. It holds nothing but
// its options and is cheap to make; any number of processes may have one for
// the same folder.
type Broker struct {
	*folder.Folder
}

// New makes a Broker. It touches neither disk nor keystore.
func New(opt Options) *Broker { return &Broker{Folder: folder.New(opt)} }

// rules are those of its folder.
func (b *Broker) rules() pool.Rules { return pool.RulesOf(b.Folder) }
