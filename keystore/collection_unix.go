//go:build !windows && !darwin

package keystore

import (
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
	secretservice "github.com/zalando/go-keyring/secret_service"
)

// The library always uses the keyring "login" if there is one. If a person's default
// keyring is another one, unlocked, and "login" is locked, they would be asked for a
// password that they may not even know. So a new folder starts in the default keyring then.
// An item that exists is read and replaced where it is, whatever is locked or the default
// later.

const (
	lockedProperty = "org.freedesktop.Secret.Collection.Locked"
	servicePath    = dbus.ObjectPath("/org/freedesktop/secrets")
	serviceName    = "org.freedesktop.secrets"
	loginPath      = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
)

func getItem(item string) (string, error) {
	if text, err := login.get(item); !errors.Is(err, errLong) {
		return text, err
	}
	if r := besideLogin(item); r != nil {
		return r.get(item)
	}
	return keyring.Get(Service, item)
}

func setItem(item, text string) error {
	if err := login.set(item, text); !errors.Is(err, errLong) {
		return err
	}
	if r := besideLogin(item); r != nil {
		return r.set(item, text)
	}
	return keyring.Set(Service, item, text)
}

func deleteItem(item string) error {
	if r := besideLogin(item); r != nil {
		return r.delete(item)
	}
	return keyring.Delete(Service, item)
}

// ring is a keyring other than "login".
type ring struct {
	service *secretservice.SecretService
	path    dbus.ObjectPath
}

// besideLogin returns the keyring of an item: the one that has it, else the one that has
// its folder's manifest, else the default one if "login" is locked and has nothing of
// authferry's. Nil: "login", or whatever the library uses.
//
// A keyring is asked whether it is locked only if nothing else decides: if another process
// is writing at that moment, the question can crash gnome-keyring-daemon.
func besideLogin(item string) *ring {
	s, err := secretservice.NewSecretService()
	if err != nil {
		return nil
	}
	if path := holding(s, map[string]string{"username": item, "service": Service}); path != "" {
		return beside(s, path)
	}
	var other dbus.ObjectPath
	err = s.Object(serviceName, servicePath).Call("org.freedesktop.Secret.Service.ReadAlias", 0, "default").Store(&other)
	if err != nil || other == "/" || other == loginPath {
		return nil
	}
	store, _, _ := strings.Cut(item, "/")
	if path := holding(s, map[string]string{"username": store + "/manifest", "service": Service}); path != "" {
		return beside(s, path)
	}
	if locked, there := lockedAt(s, loginPath); !there || !locked {
		return nil
	}
	if locked, there := lockedAt(s, other); !there || locked || holding(s, map[string]string{"service": Service}) == loginPath {
		return nil
	}
	return beside(s, other)
}

func beside(s *secretservice.SecretService, path dbus.ObjectPath) *ring {
	if path == loginPath {
		return nil
	}
	return &ring{s, path}
}

// holding returns the keyring, locked or not, that has an item with these attributes;
// "login" if several have; empty if none has or it can't be told.
func holding(s *secretservice.SecretService, attributes map[string]string) dbus.ObjectPath {
	open, locked, err := search(s, attributes)
	if err != nil {
		return ""
	}
	return keyringOf(append(open, locked...))
}

// search looks in all keyrings, without prompting.
func search(s *secretservice.SecretService, attributes map[string]string) (open, locked []dbus.ObjectPath, err error) {
	err = s.Object(serviceName, servicePath).Call("org.freedesktop.Secret.Service.SearchItems", 0, attributes).Store(&open, &locked)
	return open, locked, err
}

// keyringOf is the keyring of these items; "login" before any other.
func keyringOf(items []dbus.ObjectPath) (found dbus.ObjectPath) {
	for _, item := range items {
		path := item[:max(0, strings.LastIndexByte(string(item), '/'))]
		if path == loginPath {
			return path
		}
		if found == "" {
			found = path
		}
	}
	return found
}

func lockedAt(s *secretservice.SecretService, path dbus.ObjectPath) (locked, there bool) {
	v, err := s.Object(serviceName, path).GetProperty(lockedProperty)
	if err != nil {
		return false, false
	}
	locked, there = v.Value().(bool)
	return locked, there
}

func (r *ring) item(name string) (dbus.ObjectPath, error) {
	if err := r.service.Unlock(r.path); err != nil {
		return "", err
	}
	found, err := r.service.SearchItems(r.service.Object(serviceName, r.path), map[string]string{"username": name, "service": Service})
	if err == nil && len(found) == 0 {
		err = keyring.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

func (r *ring) get(name string) (string, error) {
	item, err := r.item(name)
	if err != nil {
		return "", err
	}
	session, err := r.service.OpenSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = r.service.Close(session) }()
	secret, err := r.service.GetSecret(item, session.Path())
	if err != nil {
		return "", err
	}
	return string(secret.Value), nil
}

func (r *ring) set(name, text string) error {
	if _, err := r.item(name); err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	session, err := r.service.OpenSession()
	if err != nil {
		return err
	}
	defer func() { _ = r.service.Close(session) }()
	return r.service.CreateItem(r.service.Object(serviceName, r.path), label(name),
		attributes(name), secretservice.NewSecret(session.Path(), text))
}

func (r *ring) delete(name string) error {
	item, err := r.item(name)
	if err != nil {
		return err
	}
	return r.service.Delete(item)
}
