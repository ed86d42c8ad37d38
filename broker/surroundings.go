package broker

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// fileSystem is a variable for the tests.
var fileSystem = networkFileSystem

// disk warns of file systems whose locks may not reach other machines, or hang.
func (d *doctor) disk() {
	if name := fileSystem(d.b.Dir); name != "" {
		d.try("file system", CheckWarning, fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_DIR", Value: "A_FOLDER_ON_A_LOCAL_DISK"},
			"%s is on %s: locks may not reach other machines there, and can hang; two machines that share a login lose it", d.b.Dir, name)
	}
}

// daemons warns of a second daemon that writes the same keyring.
func (d *doctor) daemons() {
	if pids := keyringDaemons(); len(pids) > 1 {
		// Which of them the bus leads to, the bus alone knows.
		d.try("keyring daemons", CheckWarning, fault.Remedy{Do: fault.ShowDaemons},
			"processes %s are keyring daemons of yours for the same keyring: what one stores the other overwrites; end those that your session does not use", strings.Trim(fmt.Sprint(pids), "[]"))
	}
}

// keyFileModes warns of a key file that others may read.
func (d *doctor) keyFileModes() {
	path := d.b.KeyFileOf(d.idx)
	if d.b.Exposed(path) {
		d.say("key file", CheckWarning, "%s lies in the same folder as the vault that it opens; whoever copies the folder has both", path)
	}
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		d.try("key file", CheckWarning, fault.Remedy{Do: fault.ProtectFile, Path: path}, "others may read %s, which opens the vault", path)
	}
}

// strangers looks through the vault for items of no account. Those of a probe
// that was killed can go; of others nobody knows whose they are.
func (d *doctor) strangers(ctx context.Context, names []string, m *record.Manifest) {
	known := map[string]bool{record.ManifestItem(d.idx.Store): true, record.TrialItem(d.idx.Store): true}
	all := record.Manifest{Store: d.idx.Store, Accounts: folder.AccountIDs(d.idx)}
	all.AddAll(*m)
	for _, name := range all.Items() {
		known[name] = true
	}
	probes, swept, strange := 0, 0, 0
	for _, name := range names {
		switch {
		case known[name]:
		case strings.HasPrefix(name, record.ProbePrefix):
			if d.fix && d.o.Store.Delete(ctx, name) == nil {
				swept++
			} else {
				probes++
			}
		default:
			strange++
		}
	}
	if probes > 0 {
		d.try("vault", CheckWarning, fixing, "a probe that was cut off left %s", plural(probes, "item"))
	}
	if swept > 0 {
		d.say("vault", CheckOK, "removed %s that a probe left, which was cut off", plural(swept, "item"))
	}
	if strange > 0 {
		d.say("vault", CheckWarning, "the vault has %s of no account here, as a copied folder or an index of another time leaves them", plural(strange, "item"))
	}
}

// twins warns of two accounts with one login: whichever refreshes first logs the
// other out.
func (d *doctor) twins() {
	seen := map[string]*index.Account{}
	for i := range d.idx.Accounts {
		a := &d.idx.Accounts[i]
		if a.Fingerprint == "" || a.Kind == index.KindAPIKey {
			continue
		}
		if other := seen[a.Fingerprint]; other != nil {
			d.try("shared login", CheckWarning, fault.Remedy{Do: fault.RemoveHere, Account: pool.Reference(d.idx, a)}, "accounts %s and %s have one login; whichever refreshes first logs the other out", fault.Quote(other.Label), fault.Quote(a.Label))
		}
		seen[a.Fingerprint] = a
	}
}
