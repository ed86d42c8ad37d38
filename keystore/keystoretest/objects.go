package keystoretest

import (
	"os"
	"slices"

	"github.com/godbus/dbus/v5"
)

// The objects that a Service has on the bus. Their methods are those of the
// Secret Service API 0.2, as far as keychain libraries use them.

type (
	serviceObject    struct{ s *Service }
	propertiesObject struct{ s *Service }
	collectionObject struct{ s *Service }
	sessionObject    struct{ s *Service }
	itemObject       struct {
		s *Service
		i *secretItem
	}
	promptObject struct {
		s      *Service
		path   dbus.ObjectPath
		mode   Mode
		result dbus.Variant
	}
)

// secret is the struct (oayays) of the API.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

const noPath = dbus.ObjectPath("/")

func failure(name, text string) *dbus.Error {
	return dbus.NewError(name, []any{text})
}

func (o propertiesObject) Get(_, property string) (dbus.Variant, *dbus.Error) {
	mode, leave := o.s.enter("Get " + property)
	defer leave()
	if property != "Collections" {
		return dbus.Variant{}, failure("org.freedesktop.DBus.Error.UnknownProperty", "no such property")
	}
	if mode == NoCollection {
		return dbus.MakeVariant([]dbus.ObjectPath{}), nil
	}
	return dbus.MakeVariant([]dbus.ObjectPath{loginPath}), nil
}

func (o serviceObject) OpenSession(algorithm string, _ dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	_, leave := o.s.enter("OpenSession")
	defer leave()
	if algorithm != "plain" {
		return dbus.Variant{}, noPath, failure("org.freedesktop.DBus.Error.NotSupported", "only plain")
	}
	path := o.s.path(string(servicePath) + "/session/s")
	o.s.export(sessionObject(o), path, "org.freedesktop.Secret.Session")
	return dbus.MakeVariant(""), path, nil
}

func (o sessionObject) Close() *dbus.Error {
	_, leave := o.s.enter("Close")
	defer leave()
	return nil
}

func (o serviceObject) Unlock(objects []dbus.ObjectPath) (unlocked []dbus.ObjectPath, prompt dbus.ObjectPath, _ *dbus.Error) {
	mode, leave := o.s.enter("Unlock")
	defer leave()
	none := []dbus.ObjectPath{}
	switch mode {
	case Locked, NoCollection:
		return none, noPath, nil
	case PromptHanging, UnlockDismissed, PromptKillsBus:
		return none, o.s.prompt(mode, dbus.MakeVariant(none)), nil
	}
	return objects, noPath, nil
}

func (o serviceObject) ReadAlias(string) (dbus.ObjectPath, *dbus.Error) {
	mode, leave := o.s.enter("ReadAlias")
	defer leave()
	if mode == NoCollection {
		return noPath, nil
	}
	return loginPath, nil
}

func (o collectionObject) SearchItems(attributes map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	mode, leave := o.s.enter("SearchItems")
	defer leave()
	if mode == NoCollection {
		return nil, failure("org.freedesktop.DBus.Error.UnknownMethod", "Object does not exist at path “"+string(loginPath)+"”")
	}
	paths := []dbus.ObjectPath{}
	for _, i := range o.s.find(attributes) {
		paths = append(paths, i.path)
	}
	return paths, nil
}

func (o collectionObject) CreateItem(properties map[string]dbus.Variant, made secret, replace bool) (item, prompt dbus.ObjectPath, _ *dbus.Error) {
	mode, leave := o.s.enter("CreateItem")
	defer leave()
	attributes, _ := properties["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)
	value := made.Value
	if mode.locks() {
		return noPath, noPath, failure("org.freedesktop.Secret.Error.IsLocked", "the collection is locked")
	}
	switch mode {
	case Full:
		return noPath, noPath, failure("org.freedesktop.DBus.Error.Failed", "no space left on device")
	case Crashing:
		_ = o.s.conn.Close()
		return noPath, noPath, nil
	case Losing:
		return loginPath + "/0", noPath, nil
	case CreateDismissed:
		return noPath, o.s.prompt(mode, dbus.MakeVariant(noPath)), nil
	case Truncating:
		value = value[:len(value)/2]
	case Emptying:
		value = nil
	case Late:
		changed := o.s.changed
		o.s.mu.Unlock()
		<-changed
		o.s.mu.Lock()
	}
	if same := o.s.find(attributes); replace && len(same) > 0 {
		last := same[len(same)-1]
		last.earlier, last.value = last.value, value
		return last.path, noPath, nil
	}
	return o.s.add(attributes, value).path, noPath, nil
}

func (o itemObject) GetSecret(session dbus.ObjectPath) (secret, *dbus.Error) {
	mode, leave := o.s.enter("GetSecret")
	defer leave()
	value := o.i.value
	switch {
	case mode.locks():
		return secret{}, failure("org.freedesktop.Secret.Error.IsLocked", "the item is locked")
	case !slices.Contains(o.s.items, o.i):
		return secret{}, failure("org.freedesktop.Secret.Error.NoSuchObject", "the item is gone")
	case mode == Vanishing:
		return secret{}, vanished(o.i)
	case mode == Stale:
		value = o.i.earlier
	}
	return secret{Session: session, Parameters: []byte{}, Value: value, ContentType: "text/plain"}, nil
}

func (o itemObject) Delete() (prompt dbus.ObjectPath, _ *dbus.Error) {
	mode, leave := o.s.enter("Delete")
	defer leave()
	if mode.locks() {
		return noPath, failure("org.freedesktop.Secret.Error.IsLocked", "the collection is locked")
	}
	o.s.items = slices.DeleteFunc(o.s.items, func(i *secretItem) bool { return i == o.i })
	if mode == Vanishing {
		return noPath, vanished(o.i)
	}
	return noPath, nil
}

// vanished is what gnome-keyring says of an item that was there a moment ago.
func vanished(i *secretItem) *dbus.Error {
	return failure("org.freedesktop.DBus.Error.UnknownMethod", "Object does not exist at path “"+string(i.path)+"”")
}

// prompt needs the mutex.
func (s *Service) prompt(mode Mode, result dbus.Variant) dbus.ObjectPath {
	path := s.path(string(servicePath) + "/prompt/p")
	s.export(promptObject{s, path, mode, result}, path, promptIface)
	return path
}

func (o promptObject) Prompt(string) *dbus.Error {
	_, leave := o.s.enter("Prompt")
	defer leave()
	switch o.mode {
	case PromptHanging:
	case PromptKillsBus:
		_ = o.s.bus.daemon.process.Signal(os.Kill)
	default: // dismissed
		_ = o.s.conn.Emit(o.path, promptIface+".Completed", true, o.result)
	}
	return nil
}
