package doctor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// keystore probes the keystore, and reports whether it works.
func (d *examination) keystore(ctx context.Context) bool {
	s, err := folder.TryKeystore(ctx, d.f)
	if err = cmp.Or(err, s.Err); err != nil {
		d.fail("keystore", err)
		return false
	}
	d.say("keystore", OK, "%s: %s: written, read and deleted a probe", s.Kind, s.Backend)
	if d.o, err = d.f.Open(d.idx); err != nil {
		d.fail("keystore", err)
		return false
	}
	if s.Kind == string(keystore.File) {
		d.keyFileModes()
	} else {
		d.daemons()
	}
	return true
}

// daemons warns about a second daemon that writes the same keyring.
func (d *examination) daemons() {
	if pids := keyringDaemons(); len(pids) > 1 {
		// It can't be told which of them the bus talks to.
		d.try("keyring daemons", Warning, fault.Remedy{Do: fault.ShowDaemons},
			"your processes %s are keyring daemons for the same keyring, so one overwrites what another stores; end those that your session doesn't use", strings.Trim(fmt.Sprint(pids), "[]"))
	}
}

// keyFileModes warns about a key file that others can read.
func (d *examination) keyFileModes() {
	path := d.f.KeyFileOf(d.idx)
	if folder.Exposed(d.f, path) {
		d.say("key file", Warning, "%s is in the same folder as the vault that it opens; anyone who copies the folder has both", path)
	}
	if info, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		d.try("key file", Warning, fault.Remedy{Do: fault.ProtectFile, Path: path}, "others can read %s, which opens the vault", path)
	}
}

// strangers looks for items in the vault that belong to no account. Those of a killed probe
// can be deleted; others may belong to somebody.
func (d *examination) strangers(ctx context.Context, names []string, m *record.Manifest) {
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
		d.try("vault", Warning, fixing, "an interrupted probe left %s", plural(probes, "item"))
	}
	if swept > 0 {
		d.say("vault", OK, "removed %s that an interrupted probe left", plural(swept, "item"))
	}
	if strange > 0 {
		d.say("vault", Warning, "the vault has %s of no account here, as after copying a folder or restoring an old index", plural(strange, "item"))
	}
}
