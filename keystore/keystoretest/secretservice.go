package keystoretest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/authferry/authferry/testenv"
)

// Mode is how a Service behaves.
type Mode int

// The modes of a Service.
const (
	Normal          Mode = iota
	Locked               // the collection stays locked, and no prompt can be shown
	NoCollection         // there is no collection yet
	NoOwner              // the name on the bus belongs to nobody
	Hanging              // no call is answered while the mode lasts
	Slow                 // every call takes 10 ms longer
	PromptHanging        // to unlock takes a prompt, which nobody ever answers
	UnlockDismissed      // the prompt to unlock is dismissed
	CreateDismissed      // the prompt to create an item is dismissed: reported as success
	PromptKillsBus       // the message bus dies while the prompt to unlock is open
	Losing               // created items are not stored: reported as success
	Truncating           // of a secret the first half is stored
	Emptying             // an empty secret is stored
	Stale                // the secret before the last change is answered
	Late                 // items are created, and that is reported, when the mode ends
	Full                 // creating an item fails
	Vanishing            // an item is gone when it is read or deleted, as if another process had just replaced it
	Crashing             // the service leaves the bus in the middle of creating an item
)

// locks reports that the collection is locked; the modes differ in what comes of
// unlocking it.
func (m Mode) locks() bool {
	return m == Locked || m == PromptHanging || m == UnlockDismissed || m == PromptKillsBus
}

// slowness is what Slow adds to every call.
const slowness = 10 * time.Millisecond

// Service is a Secret Service (org.freedesktop.secrets) with faults, on a
// message bus of its own. It has one collection, "login", keeps everything in
// memory, and takes no encrypted session.
type Service struct {
	// Env is what a process needs to use it. The D-Bus library connects once per
	// process, so this is for children.
	Env []string

	bus  *privateBus
	conn *dbus.Conn

	mu      sync.Mutex
	mode    Mode
	changed chan struct{} // closed when the mode changes
	after   map[string]Mode
	calls   []string
	items   []*secretItem
	number  int // of the last session, item or prompt
}

type secretItem struct {
	path       dbus.ObjectPath
	attributes map[string]string
	value      []byte
	earlier    []byte
}

// Item is an item as the Service has it.
type Item struct {
	Name  string // the attribute "username", which is the item's name in the store
	Value string
}

// SecretService starts a Service. It ends with the test, which is skipped where
// dbus-daemon is missing.
func SecretService(t testing.TB, mode Mode) *Service {
	t.Helper()
	s := &Service{bus: newBus(t), changed: make(chan struct{}), after: map[string]Mode{}}
	s.Env = []string{"DBUS_SESSION_BUS_ADDRESS=" + s.bus.address}
	s.conn = s.bus.connect(t)
	s.export(collectionObject{s}, loginPath, collectionIface)
	s.export(collectionObject{s}, defaultPath, collectionIface)
	s.export(serviceObject{s}, servicePath, serviceIface)
	s.export(propertiesObject{s}, servicePath, propertyIface)
	s.export(propertiesObject{s}, loginPath, propertyIface)
	s.own(t)
	s.SetMode(t, mode)
	t.Cleanup(func() { s.end(Normal) })
	return s
}

// SetMode changes the mode. Calls that Hanging or Late held up go on.
func (s *Service) SetMode(t testing.TB, mode Mode) {
	t.Helper()
	was := s.end(mode)
	switch {
	case mode == NoOwner && was != NoOwner:
		testenv.Must(t, testenv.Err(s.conn.ReleaseName(busName)))
	case mode != NoOwner && was == NoOwner:
		s.own(t)
	}
}

func (s *Service) own(t testing.TB) {
	t.Helper()
	if reply, err := s.conn.RequestName(busName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("owning %s: %v %v", busName, reply, err)
	}
}

// end ends the current mode.
func (s *Service) end(next Mode) (was Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, s.mode = s.mode, next
	close(s.changed)
	s.changed = make(chan struct{})
	return was
}

// After changes the mode once the next call of a method, such as "CreateItem",
// has been answered.
func (s *Service) After(method string, mode Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after[method] = mode
}

// Calls returns the methods that were called so far, in their order, such as
// "OpenSession", "SearchItems", "GetSecret" and "CreateItem".
func (s *Service) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Items returns what is stored, the oldest first.
func (s *Service) Items() []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []Item
	for _, i := range s.items {
		items = append(items, Item{Name: i.attributes["username"], Value: string(i.value)})
	}
	return items
}

// Plant stores an item beside those that are there already, so that there may be
// several of one name. Searches find the oldest of them first, and to create one
// replaces the newest.
func (s *Service) Plant(service, name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(map[string]string{"service": service, "username": name}, []byte(value))
}

// Edit replaces the value of every item of that name, as a person with a
// keychain program would; a nil value deletes them.
func (s *Service) Edit(name string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		s.items = slices.DeleteFunc(s.items, func(i *secretItem) bool { return i.attributes["username"] == name })
	}
	for _, i := range s.items {
		if i.attributes["username"] == name {
			i.value = value
		}
	}
}

// KillBus kills the message bus with SIGKILL.
func (s *Service) KillBus(t testing.TB) { t.Helper(); s.bus.daemon.signal(t, os.Kill) }

// enter begins a call of a method; what it returns ends it.
func (s *Service) enter(method string) (mode Mode, leave func()) {
	s.mu.Lock()
	s.calls = append(s.calls, method)
	for s.mode == Hanging {
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	if s.mode == Slow {
		s.mu.Unlock()
		time.Sleep(slowness)
		s.mu.Lock()
	}
	return s.mode, func() {
		if next, ok := s.after[method]; ok {
			delete(s.after, method)
			s.mode = next
		}
		s.mu.Unlock()
	}
}

// add needs the mutex.
func (s *Service) add(attributes map[string]string, value []byte) *secretItem {
	i := &secretItem{path: s.path(string(loginPath) + "/"), attributes: attributes, value: value}
	s.items = append(s.items, i)
	s.export(itemObject{s, i}, i.path, itemIface)
	return i
}

// find needs the mutex.
func (s *Service) find(attributes map[string]string) (found []*secretItem) {
	for _, i := range s.items {
		same := maps.Clone(i.attributes)
		maps.Copy(same, attributes)
		if maps.Equal(same, i.attributes) {
			found = append(found, i)
		}
	}
	return found
}

// path needs the mutex.
func (s *Service) path(prefix string) dbus.ObjectPath {
	s.number++
	return dbus.ObjectPath(fmt.Sprintf("%s%d", prefix, s.number))
}

func (s *Service) export(object any, path dbus.ObjectPath, iface string) {
	if err := s.conn.Export(object, path, iface); err != nil {
		panic(err) // a path of our own that is none
	}
}
