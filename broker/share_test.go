package broker

import (
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/testenv"
)

// No path of index.json makes anybody ask a file server, which on Windows would log in
// there.
func TestNetworkShares(t *testing.T) {
	for path, share := range map[string]bool{
		`\\evil\share`: true, `//evil/share`: true, `\/evil/share`: true, `/\evil`: true, `\\?\UNC\evil\share`: true, `\??\UNC\evil\share`: true,
		`C:\Users\ada`: false, `/home/ada`: false, `\Users`: false, "": false, "x": false,
	} {
		if folder.OnShare(path) != share {
			t.Errorf("%s: %v", path, !share)
		}
	}
	w := newWorld(t, brokertest.Config{})
	key := keyFileOf(w)
	for _, path := range []string{`\\evil\share\key`, `//evil/share/key`} {
		testenv.Must(t, w.broker().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { i.KeyFile = path; return nil }))
		if s, err := folder.TryKeystore(t.Context(), w.broker().Folder); err != nil || s.Usable || fault.CodeOf(s.Err) != fault.KeystoreUnavailable {
			t.Errorf("%s: %+v, %v", path, s, err)
		}
		named := New(Options{Dir: w.dir, KeyFile: key})
		if s, err := folder.TryKeystore(t.Context(), named.Folder); err != nil || !s.Usable {
			t.Errorf("with a key file that the user named: %+v, %v", s, err)
		}
		if folder.Strange(New(Options{Dir: `\\home\ada`}).Folder, path) {
			t.Error("a folder on a share can't have its key file there")
		}
		if folder.IsIn(path, w.dir) {
			t.Error(path + " is in this folder")
		}
		if takeover.StillIn(t.Context(), w.broker().Folder, &index.Account{Shared: path}) {
			t.Error(path + " has been looked at")
		}
	}
	if filepath.Separator == '/' && folder.Strange(w.broker().Folder, "/home/ada/key") {
		t.Error("a path of this machine is strange")
	}
}
