package doctor

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Holding is where another program has an account's login too. No secret.
type Holding struct {
	Source, Title string // the program's: in commands, and for people
	Path          string
	APIKey        bool // the login is an API key
	ClientNeeded  bool // it takes the id of the client that it was issued to
}

// Above is what doctor asks of what stands above it. Shared finds the accounts whose login
// another program's file has too, by their ids. StillIn reports whether the file that an
// account was taken from, and left in, has a login of its provider yet.
type Above struct {
	Shared  func(context.Context, *folder.Folder) map[string]Holding
	StillIn func(context.Context, *folder.Folder, *index.Account) bool
}

// twins warns of two accounts with one login: whichever refreshes first logs the
// other out.
func (d *examination) twins() {
	seen := map[string]*index.Account{}
	for i := range d.idx.Accounts {
		a := &d.idx.Accounts[i]
		if a.Fingerprint == "" || a.Kind == index.KindAPIKey {
			continue
		}
		if other := seen[a.Fingerprint]; other != nil {
			d.try("shared login", Warning, fault.Remedy{Do: fault.RemoveHere, Account: pool.Reference(d.idx, a)}, "accounts %s and %s have one login; whichever refreshes first logs the other out", fault.Quote(other.Label), fault.Quote(a.Label))
		}
		seen[a.Fingerprint] = a
	}
}

// shares warns of an account whose login another program's file has too.
func (d *examination) shares(name string, h Holding) {
	next := fault.Remedy{Do: fault.Import, Name: h.Source}
	if h.ClientNeeded {
		next.Value = "ID" // of the client
	}
	message := "%s (%s) has this login too; whichever refreshes first logs the other out"
	if h.APIKey {
		message = "%s (%s) has this API key too, for every program to read"
	}
	d.try(name, Warning, next, message, h.Title, h.Path)
}
