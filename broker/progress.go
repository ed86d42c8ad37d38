package broker

import (
	"fmt"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
)

func forProvider(name string) func() string {
	return func() string { return "waiting for " + name + " to answer" }
}

// forRotation says what the rotator of a is busy with.
func (b *Broker) forRotation(a *index.Account) func() string {
	path := lock.Rotation(a.ID).In(b.File().Dir())
	return func() string {
		if h, err := lock.ReadHolder(path); err == nil && h.State == folder.Storing {
			return "waiting for the keystore to take the new tokens of account " + fault.Quote(a.Label)
		}
		return fmt.Sprintf("waiting for %s to refresh account %s", a.Provider, fault.Quote(a.Label))
	}
}
