package keystore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	ks "github.com/authferry/authferry/keystore/keystoretest"
)

const item = "store/acc_0/grant:a"

// long is a value of three parts.
var long = strings.Repeat("long value ", 500)

// needsSecretService skips where the keychain of this system is another one.
func needsSecretService(t *testing.T) {
	t.Helper()
	if b := keystore.OpenKeychain().Backend(); b != "Secret Service" {
		t.Skipf("needs a Secret Service: the keychain here is the %s", b)
	}
}

// Each fault meets a Get and a Set of a process that has used the keychain
// before, and of one that has not.
func TestFaults(t *testing.T) {
	needsSecretService(t)
	for name, tt := range map[string]struct {
		mode     ks.Mode
		get, set error // nil: success
		timeout  time.Duration
	}{
		"C1: locked":                          {mode: ks.Locked, get: keystore.ErrLocked, set: keystore.ErrLocked},
		"C1: no collection yet":               {mode: ks.NoCollection, get: keystore.ErrUnavailable, set: keystore.ErrUnavailable},
		"C3: the prompt is never answered":    {mode: ks.PromptHanging, get: keystore.ErrTimeout, set: keystore.ErrTimeout, timeout: shortly},
		"C4: prompt dismissed on Unlock":      {mode: ks.UnlockDismissed, get: keystore.ErrLocked, set: keystore.ErrLocked},
		"C5: no owner":                        {mode: ks.NoOwner, get: keystore.ErrUnavailable, set: keystore.ErrUnavailable},
		"C6: the service hangs":               {mode: ks.Hanging, get: keystore.ErrTimeout, set: keystore.ErrTimeout, timeout: shortly},
		"C6: the service leaves in mid-call":  {mode: ks.Crashing, set: keystore.ErrUnavailable},
		"C6: the bus dies in the prompt":      {mode: ks.PromptKillsBus, get: keystore.ErrUnavailable, set: keystore.ErrUnavailable},
		"C7: a truncated value is stored":     {mode: ks.Truncating, set: keystore.ErrDenied},
		"C7: an empty value is stored":        {mode: ks.Emptying, set: keystore.ErrDenied},
		"C8: the old value after Set":         {mode: ks.Stale, get: keystore.ErrDamaged, set: keystore.ErrDenied},
		"C9: the write comes after the death": {mode: ks.Late, set: keystore.ErrTimeout, timeout: shortly},
		"C12: disk full":                      {mode: ks.Full, set: keystore.ErrDenied},
		"slow":                                {mode: ks.Slow},
	} {
		for _, value := range []string{"new", long} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				service := ks.SecretService(t, ks.Normal)
				used := newClient(t, "keychain", service.Env)
				used.set(item, "old")
				service.SetMode(t, tt.mode)
				get, set := request{Op: "get", Name: item}, request{Op: "set", Name: item, Value: value}
				if tt.get != nil {
					get.Timeout = tt.timeout
				}
				if tt.set != nil {
					set.Timeout = tt.timeout
				}
				used.wantCause(get, tt.get)
				if tt.mode != ks.PromptKillsBus {
					used.wantCause(set, tt.set)
				}

				if tt.mode == ks.PromptKillsBus || tt.mode == ks.Crashing {
					service = ks.SecretService(t, tt.mode)
				}
				newClient(t, "keychain", service.Env).wantCause(set, tt.set)
			})
		}
	}
}

// C4, C7: success is reported for what was not stored.
func TestWriteThatIsLost(t *testing.T) {
	needsSecretService(t)
	for name, mode := range map[string]ks.Mode{"dismissed": ks.CreateDismissed, "lost": ks.Losing} {
		for _, value := range []string{"new", long} {
			t.Run(name, func(t *testing.T) {
				service := ks.SecretService(t, mode)
				c := newClient(t, "keychain", service.Env)
				c.wantCause(request{Op: "set", Name: item, Value: value}, keystore.ErrDenied)
				c.wantCause(request{Op: "get", Name: item}, keystore.ErrNotFound)
			})
		}
	}
}

// C5: a bus that is not there, or says nothing.
func TestNoBus(t *testing.T) {
	needsSecretService(t)
	for name, tt := range map[string]struct {
		env     []string
		cause   error
		timeout time.Duration
	}{
		"gone": {env: ks.DeadBus(t), cause: keystore.ErrUnavailable},
		"mute": {env: ks.MuteBus(t), cause: keystore.ErrTimeout, timeout: shortly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, "keychain", tt.env)
			for _, op := range []string{"get", "set", "delete"} {
				c.wantCause(request{Op: op, Name: item, Timeout: tt.timeout}, tt.cause)
			}
		})
	}
}

// C2: the collection locks between two calls of one Set.
func TestLocksInBetween(t *testing.T) {
	needsSecretService(t)
	for _, method := range []string{"SearchItems", "CreateItem", "GetSecret"} {
		t.Run(method, func(t *testing.T) {
			service := ks.SecretService(t, ks.Normal)
			c := newClient(t, "keychain", service.Env)
			service.After(method, ks.Locked)
			c.wantCause(request{Op: "set", Name: item, Value: long}, keystore.ErrLocked)
			service.SetMode(t, ks.Normal)
			if a := c.do(request{Op: "get", Name: item}); a.Err == "" || a.Value != "" {
				t.Errorf("a value was not written whole and is there: %q", a.Value)
			}
			c.set(item, long)
			c.want(item, long)
		})
	}
}

// The question whether a keyring is locked ends gnome-keyring-daemon where another
// process writes at that moment, so what is done all the time doesn't ask it.
func TestNoKeyringIsAskedWhetherItIsLocked(t *testing.T) {
	needsSecretService(t)
	t.Parallel()
	service := ks.SecretService(t, ks.Normal)
	c := newClient(t, "keychain", service.Env)
	c.set(item, long)
	c.want(item, long)
	c.do(request{Op: "delete", Name: item})
	c.wantCause(request{Op: "get", Name: item}, keystore.ErrNotFound)
	if calls := service.Calls(); slices.Contains(calls, "Get Locked") {
		t.Errorf("calls: %q", calls)
	}
}

// C3, C9: a write that was given up and is stored later does not come after the
// next write of the same process.
func TestLateWrite(t *testing.T) {
	t.Parallel()
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	c := newClient(t, "keychain", service.Env)
	c.set(item, "first")
	service.SetMode(t, ks.Late)
	c.wantCause(request{Op: "set", Name: item, Value: "late", Timeout: shortly}, keystore.ErrTimeout)
	a := c.wantCause(request{Op: "set", Name: item, Value: "next", Timeout: shortly}, keystore.ErrTimeout)
	if !strings.Contains(a.Err, "an earlier call is still under way") {
		t.Errorf("error %q does not say what it waited for", a.Err)
	}
	service.SetMode(t, ks.Normal)
	c.set(item, "newest")
	c.want(item, "newest")
	if slices.ContainsFunc(service.Items(), func(i ks.Item) bool { return !strings.HasSuffix(i.Value, "newest") }) {
		t.Errorf("items = %q", service.Items())
	}
}

// C10: of several items of one name, any may answer.
func TestDuplicates(t *testing.T) {
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	c := newClient(t, "keychain", service.Env)
	plant := func() {
		service.Plant(keystore.Service, item, "someone else's")
		service.Plant(keystore.Service, item, "someone else's")
	}
	plant()
	c.wantCause(request{Op: "get", Name: item}, keystore.ErrDamaged)
	c.set(item, "value")
	c.want(item, "value")
	if n := len(service.Items()); n != 1 {
		t.Errorf("%d items, want the one", n)
	}
	plant()
	c.wantCause(request{Op: "delete", Name: item}, nil)
	if items := service.Items(); len(items) != 0 {
		t.Errorf("left: %q", items)
	}
}

// C11: a person deletes or edits an item.
func TestEditedItems(t *testing.T) {
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	c := newClient(t, "keychain", service.Env)
	for name, edit := range map[string]func(){
		"empty":        func() { service.Edit(item, []byte{}) },
		"text":         func() { service.Edit(item, []byte("hunter2")) },
		"part changed": func() { service.Edit(item+"#2", []byte("x")) },
		"part deleted": func() { service.Edit(item+"#3", nil) },
	} {
		t.Run(name, func(*testing.T) {
			c.set(item, long)
			edit()
			c.wantCause(request{Op: "get", Name: item}, keystore.ErrDamaged)
			c.set(item, long)
			c.want(item, long)
		})
	}
	service.Edit(item, nil)
	c.wantCause(request{Op: "get", Name: item}, keystore.ErrNotFound)
	c.wantCause(request{Op: "delete", Name: item}, nil)
	if items := service.Items(); len(items) != 0 {
		t.Errorf("parts stay without their head: %q", items)
	}
}

// An item that another process replaced or deleted between the search and the
// read is searched for again. (Random schedules on a keyring, seed 2.)
func TestItemThatVanishes(t *testing.T) {
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	client := newClient(t, "keychain", service.Env)
	client.set(item, "value")
	service.SetMode(t, ks.Vanishing)
	service.After("GetSecret", ks.Normal)
	client.want(item, "value")
	service.SetMode(t, ks.Vanishing)
	service.After("Delete", ks.Normal)
	client.wantCause(request{Op: "delete", Name: item}, nil)
	client.wantCause(request{Op: "get", Name: item}, keystore.ErrNotFound)
}

// C16: a write that is the first call of a process can abort the daemon.
func TestReadsBeforeItWrites(t *testing.T) {
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	newClient(t, "keychain", service.Env).set(item, "value")
	calls := service.Calls()
	search, create := slices.Index(calls, "SearchItems"), slices.Index(calls, "CreateItem")
	session := slices.Index(calls, "OpenSession")
	if search < 0 || search > create || search > session {
		t.Errorf("calls = %q: a search should come before the first session and item", calls)
	}
}

// What is in "login", open and once, takes the fewest calls that there can be: the
// first one of a process opens the session for all that come.
func TestCalls(t *testing.T) {
	needsSecretService(t)
	service := ks.SecretService(t, ks.Normal)
	newClient(t, "keychain", service.Env).set(item, "value")
	c := newClient(t, "keychain", service.Env)
	for _, tt := range []struct {
		r    request
		want string
	}{
		{request{Op: "get", Name: item}, "SearchItems OpenSession GetSecret"},
		{request{Op: "get", Name: item}, "SearchItems GetSecret"},
		// Are there parts, and the item itself; it is written, and read back.
		{request{Op: "set", Name: item, Value: "new"}, "SearchItems SearchItems CreateItem SearchItems GetSecret"},
		{request{Op: "get", Name: item}, "SearchItems GetSecret"},
	} {
		before := len(service.Calls())
		c.wantCause(tt.r, nil)
		if got := strings.Join(service.Calls()[before:], " "); got != tt.want {
			t.Errorf("%s: calls %s, want %s", tt.r.Op, got, tt.want)
		}
	}
	c.want(item, "new")
	if got := service.Items()[0].Value; !strings.HasSuffix(got, "\nnew") {
		t.Errorf("item = %q, want the value in plain after the head", got)
	}
}
