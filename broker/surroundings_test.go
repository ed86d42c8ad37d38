package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// Doctor looks at what is around the folder as well.
func TestDoctorSurroundings(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.healthy()

	// A key file that others may read, and one beside the vault.
	key := keyFileOf(w)
	if runtime.GOOS != "windows" {
		testenv.Must(t, os.Chmod(key, 0o640))
		w.doctor(true, doctor.Warning, "others can read "+key)
		testenv.Must(t, os.Chmod(key, 0o600))
	}

	// A probe that was cut off is swept; of strangers nobody knows whose they are.
	b := w.broker()
	for _, name := range []string{"probe/x", "bbbbbbbbbbbbbbbb/acc_bbbbbbbbbbbbbbbb/grant:a"} {
		testenv.Must(t, raw(t, b).Set(t.Context(), name, keystore.NewSecret("x")))
	}
	w.doctor(false, doctor.Warning, "an interrupted probe left 1 item")
	w.doctor(true, doctor.OK, "removed 1 item that an interrupted probe left")
	w.doctor(false, doctor.Warning, "the vault has 1 item of no account here")
	names, err := keystore.FileItems(b.Folder.Vault(), key)
	if err != nil || slices.Contains(names, "probe/x") || !slices.Contains(names, "bbbbbbbbbbbbbbbb/acc_bbbbbbbbbbbbbbbb/grant:a") {
		t.Errorf("%q, %v", names, err)
	}
	testenv.Must(t, raw(t, b).Delete(t.Context(), "bbbbbbbbbbbbbbbb/acc_bbbbbbbbbbbbbbbb/grant:a"))
	w.healthy()

	// Two accounts with one login.
	other := w.mustLogin(bob, account.LoginRequest{}).Account
	own := w.account(other.ID).Fingerprint
	w.change(other.ID, func(x *index.Account) { x.Fingerprint = w.account(a.ID).Fingerprint })
	w.doctor(false, doctor.Warning, "have the same login; whichever refreshes first")
	w.change(other.ID, func(x *index.Account) { x.Fingerprint = own })
	w.healthy()
}

// A keystore that has nothing of the folder is another one: doctor doesn't send a
// person to log in again.
func TestDoctorForeignKeystore(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	w.mustLogin(ada, account.LoginRequest{})
	vault := filepath.Join(w.dir, "vault")
	move(t, vault, vault+".away")
	w.doctor(true, doctor.Fail, "this keystore has nothing of this folder")
	removeAll(t, vault)
	move(t, vault+".away", vault)
	w.healthy()
}

// A keystore from a backup: what the provider knows is newer.
func TestDoctorOldKeystore(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	vault := filepath.Join(w.dir, "vault")
	copyFolder(t, vault, vault+".backup")
	w.refreshes(a.ID)
	removeAll(t, vault)
	move(t, vault+".backup", vault)
	w.doctor(false, doctor.Warning, "the keystore is older than the index")
}

// A lock that is held for longer than any rotation takes is worth a look.
func TestDoctorOldHolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	path := lock.Rotation(a.ID).In(w.dir)
	l, err := lock.TryAcquire(path)
	testenv.Must(t, err)
	defer l.Release()
	testenv.Must(t, os.WriteFile(path+".holder", []byte(`{"pid":7,"started_at":"2020-01-01T00:00:00Z","state":"stopped?"}`), 0o600))
	w.doctor(false, doctor.Warning, "is held by process 7 since")
}

// Every kind of lock is looked at; nobody has a reason to hold that of the index
// for long.
func TestDoctorSeesLocks(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	f := index.At(w.dir)
	for path, says := range map[string]string{
		lock.Index.In(f.Dir()): "the index is held", lock.Manifest.In(f.Dir()): "the manifest is held", lock.Import.In(f.Dir()): "the import is held",
		lock.Rotation(a.ID).In(f.Dir()): "account \"ada\" is held", lock.Gate(a.ID).In(f.Dir()): "the gate of account \"ada\" is held",
		lock.Login(a.ID).In(f.Dir()): "the login of account \"ada\" is held",
	} {
		l, err := lock.TryAcquire(path)
		testenv.Must(t, err)
		w.doctor(false, doctor.OK, says)
		testenv.Must(t, os.WriteFile(path+".holder", fmt.Appendf(nil, `{"pid":7,"started_at":%q}`, time.Now().Add(-time.Minute).Format(time.RFC3339)), 0o600))
		want := doctor.OK
		if path == lock.Index.In(f.Dir()) {
			want = doctor.Warning
		}
		w.doctor(false, want, says+" by process 7")
		l.Release()
	}
	w.healthy()
}
