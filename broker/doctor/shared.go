package doctor

import (
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/takeover"
)

// twins warns about two accounts with one login: whichever refreshes first logs the other
// out.
func (d *examination) twins() {
	seen := map[string]*index.Account{}
	for i := range d.idx.Accounts {
		a := &d.idx.Accounts[i]
		if a.Fingerprint == "" || a.Kind == index.KindAPIKey {
			continue
		}
		if other := seen[a.Fingerprint]; other != nil {
			d.try("shared login", Warning, fault.Remedy{Do: fault.RemoveHere, Account: pool.Reference(d.idx, a)}, "accounts %s and %s have the same login; whichever refreshes first logs the other out", fault.Quote(other.Label), fault.Quote(a.Label))
		}
		seen[a.Fingerprint] = a
	}
}

// shares warns about an account whose login is also in another program's file.
func (d *examination) shares(name string, h takeover.Holding) {
	next := fault.Remedy{Do: fault.Import, Name: h.Source}
	if h.ClientNeeded {
		next.Value = "ID" // of the client
	}
	message := "%s (%s) has this login too; whichever refreshes first logs the other out"
	if h.APIKey {
		message = "%s (%s) has this API key too, where every program can read it"
	}
	d.try(name, Warning, next, message, h.Title, h.Path)
}
