package keystoretest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/authferry/authferry/testenv"
	"github.com/godbus/dbus/v5"
)

// The names of the Secret Service API on the bus (freedesktop.org, Secret
// Service API 0.2).
const (
	busName         = "org.freedesktop.secrets"
	servicePath     = dbus.ObjectPath("/org/freedesktop/secrets")
	loginPath       = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	defaultPath     = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
	serviceIface    = "org.freedesktop.Secret.Service"
	itemIface       = "org.freedesktop.Secret.Item"
	propertyIface   = "org.freedesktop.DBus.Properties"
	promptIface     = "org.freedesktop.Secret.Prompt"
	collectionIface = "org.freedesktop.Secret.Collection"
)

// Keyring is a gnome-keyring-daemon with a message bus and a home of its own.
type Keyring struct {
	// Env is what a process needs to use it: the bus, HOME and the XDG folders.
	// The D-Bus library connects once per process, so this is for children.
	Env []string

	bus    *privateBus
	daemon *daemon
	conn   *dbus.Conn
	home   string
	other  dbus.ObjectPath // the default one, if Default made it
}

// KeyringPassword opens the login collection.
const KeyringPassword = "the test's own"

// GnomeKeyring starts a keyring whose login collection is unlocked. It ends with
// the test, which is skipped where the programs are missing.
func GnomeKeyring(t testing.TB) *Keyring {
	t.Helper()
	needs(t, "gnome-keyring-daemon", "dbus-daemon", "sh")
	home := shortDir(t)
	k := &Keyring{bus: newBus(t), home: home}
	k.Env = []string{"HOME=" + home, "DBUS_SESSION_BUS_ADDRESS=" + k.bus.address, "GNOME_KEYRING_CONTROL=", "DISPLAY=", "WAYLAND_DISPLAY="}
	for name, folder := range map[string]string{
		"XDG_RUNTIME_DIR": "run", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "XDG_STATE_HOME": "state",
	} {
		path := filepath.Join(home, folder)
		testenv.Must(t, os.Mkdir(path, 0o700))
		k.Env = append(k.Env, name+"="+path)
	}
	k.conn = k.bus.connect(t)
	k.start(t, "--unlock")
	eventually(t, "the login keyring", k.unlocked)
	return k
}

func (k *Keyring) start(t testing.TB, flags ...string) {
	argv := append([]string{"gnome-keyring-daemon", "--foreground", "--components=secrets"}, flags...)
	k.daemon = startDaemon(t, k.Env, KeyringPassword, argv...)
	eventually(t, "gnome-keyring-daemon", k.owned)
}

// Lock locks the login collection. Nobody is there to answer a prompt.
func (k *Keyring) Lock(t testing.TB) { t.Helper(); k.lock(t, loginPath) }

func (k *Keyring) lock(t testing.TB, path dbus.ObjectPath) {
	t.Helper()
	testenv.Must(t, k.conn.Object(busName, servicePath).Call(serviceIface+".Lock", 0, []dbus.ObjectPath{path}).Err)
}

// Default makes an open keyring of another name the default one.
func (k *Keyring) Default(t testing.TB) {
	t.Helper()
	service := k.conn.Object(busName, servicePath)
	var made dbus.ObjectPath
	testenv.Must(t, service.Call(serviceIface+".SearchItems", 0, map[string]string{"program": "other"}).Err)
	// The daemon's own way round a prompt for the new keyring's password.
	testenv.Must(t, service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.CreateWithMasterPassword", 0,
		map[string]dbus.Variant{collectionIface + ".Label": dbus.MakeVariant("work")}, k.password(t)).Store(&made))
	testenv.Must(t, service.Call(serviceIface+".SetAlias", 0, "default", made).Err)
	k.other = made
}

// password is the keyrings' password, in a session of its own.
func (k *Keyring) password(t testing.TB) secret {
	t.Helper()
	var nothing dbus.Variant
	var session dbus.ObjectPath
	testenv.Must(t, k.conn.Object(busName, servicePath).Call(serviceIface+".OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&nothing, &session))
	return secret{session, []byte{}, []byte(KeyringPassword), "text/plain"}
}

// LockDefault locks what Default made; Unlock opens the login collection again.
func (k *Keyring) LockDefault(t testing.TB) { t.Helper(); k.lock(t, k.other) }

// Unlock opens the login collection, without a restart.
func (k *Keyring) Unlock(t testing.TB) { t.Helper(); k.unlock(t, loginPath) }

// UnlockDefault opens what Default made.
func (k *Keyring) UnlockDefault(t testing.TB) { t.Helper(); k.unlock(t, k.other) }

func (k *Keyring) unlock(t testing.TB, path dbus.ObjectPath) {
	t.Helper()
	service := k.conn.Object(busName, servicePath)
	testenv.Must(t, service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", 0, path, k.password(t)).Err)
}

// Second starts another daemon on the same keyring files, with a bus of its own,
// as a second session of the same person has. It returns the environment of a
// process there.
func (k *Keyring) Second(t testing.TB) (env []string) {
	t.Helper()
	other := &Keyring{bus: newBus(t), home: k.home}
	run := filepath.Join(k.home, "run2")
	testenv.Must(t, os.Mkdir(run, 0o700))
	other.Env = append(slices.Clone(k.Env), "DBUS_SESSION_BUS_ADDRESS="+other.bus.address, "XDG_RUNTIME_DIR="+run)
	other.conn = other.bus.connect(t)
	other.start(t, "--unlock")
	eventually(t, "the login keyring of the second daemon", other.unlocked)
	return other.Env
}

// Fill puts n items of some other program into the login collection.
func (k *Keyring) Fill(t testing.TB, n int) {
	t.Helper()
	service := k.conn.Object(busName, servicePath)
	var nothing dbus.Variant
	var session dbus.ObjectPath
	// A search first: a session as a daemon's first call can abort it.
	testenv.Must(t, service.Call(serviceIface+".SearchItems", 0, map[string]string{"program": "other"}).Err)
	testenv.Must(t, service.Call(serviceIface+".OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&nothing, &session))
	type secret struct {
		Session     dbus.ObjectPath
		Parameters  []byte
		Value       []byte
		ContentType string
	}
	for i := range n {
		testenv.Must(t, k.conn.Object(busName, loginPath).Call(collectionIface+".CreateItem", 0, map[string]dbus.Variant{
			itemIface + ".Label":      dbus.MakeVariant(fmt.Sprintf("item %d", i)),
			itemIface + ".Attributes": dbus.MakeVariant(map[string]string{"program": "other", "number": strconv.Itoa(i)}),
		}, secret{Session: session, Parameters: []byte{}, Value: bytes.Repeat([]byte("s"), 400), ContentType: "text/plain"}, false).Err)
	}
}

// Kill kills the daemon with SIGKILL.
func (k *Keyring) Kill(t testing.TB) {
	t.Helper()
	k.daemon.signal(t, os.Kill)
	eventually(t, "the end of gnome-keyring-daemon", func() bool { return !k.owned() })
}

// Restart kills the daemon and starts another, which is locked as after a crash
// in a session; with unlock it is given the password.
func (k *Keyring) Restart(t testing.TB, unlock bool) {
	t.Helper()
	k.Kill(t)
	if !unlock {
		k.start(t)
		return
	}
	k.start(t, "--unlock")
	eventually(t, "the login keyring", k.unlocked)
}

// Stop stops the daemon with SIGSTOP: calls of it hang.
func (k *Keyring) Stop(t testing.TB) { t.Helper(); k.daemon.signal(t, signalStop) }

// Cont lets a stopped daemon go on.
func (k *Keyring) Cont(t testing.TB) { t.Helper(); k.daemon.signal(t, signalCont) }

// KillBus kills the message bus with SIGKILL.
func (k *Keyring) KillBus(t testing.TB) { t.Helper(); k.bus.daemon.signal(t, os.Kill) }

func (k *Keyring) owned() bool {
	var owned bool
	err := k.conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, busName).Store(&owned)
	return err == nil && owned
}

func (k *Keyring) unlocked() bool {
	collections, err := k.conn.Object(busName, servicePath).GetProperty(serviceIface + ".Collections")
	if err != nil {
		return false
	}
	paths, _ := collections.Value().([]dbus.ObjectPath)
	locked, err := k.conn.Object(busName, loginPath).GetProperty("org.freedesktop.Secret.Collection.Locked")
	return err == nil && slices.Contains(paths, loginPath) && locked.Value() == false
}
