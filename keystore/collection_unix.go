//go:build !windows && !darwin

package keystore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"
	secretservice "github.com/zalando/go-keyring/secret_service"
)

// The library uses the keyring "login" wherever there is one. A person whose default
// keyring is another one, open while "login" stays locked, would be asked for a
// password that they may not even know. So a folder whose items are in neither of
// them begins in the default one then; what is in a keyring is found and replaced
// there, whatever is locked or the default later.

const (
	lockedProperty = "org.freedesktop.Secret.Collection.Locked"
	servicePath    = dbus.ObjectPath("/org/freedesktop/secrets")
	serviceName    = "org.freedesktop.secrets"
	loginPath      = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
)

func getItem(item string) (string, error) {
	locked, there := lockedLogin()
	if !there || !locked {
		text, err := keyring.Get(Service, item)
		if !there || !errors.Is(err, keyring.ErrNotFound) {
			return text, err
		}
	}
	if r := besideLogin(locked); r != nil && r.homeOf(item) != loginPath {
		return r.get(item)
	}
	if !locked {
		return "", keyring.ErrNotFound
	}
	return keyring.Get(Service, item)
}

func setItem(item, text string) error {
	if locked, there := lockedLogin(); there {
		if r := besideLogin(locked); r != nil && r.homeOf(item) != loginPath {
			return r.set(item, text)
		}
	}
	return keyring.Set(Service, item, text)
}

func deleteItem(item string) error {
	if locked, there := lockedLogin(); there {
		if r := besideLogin(locked); r != nil && r.homeOf(item) != loginPath {
			return r.delete(item)
		}
	}
	return keyring.Delete(Service, item)
}

// lockedLogin asks for the keyring "login"; there is false where nothing is known of
// it, and then the library finds out why.
func lockedLogin() (locked, there bool) {
	s, err := secretservice.NewSecretService()
	if err != nil {
		return false, false
	}
	return lockedAt(s, loginPath)
}

func lockedAt(s *secretservice.SecretService, path dbus.ObjectPath) (locked, there bool) {
	v, err := s.Object(serviceName, path).GetProperty(lockedProperty)
	if err != nil {
		return false, false
	}
	locked, there = v.Value().(bool)
	return locked, there
}

// ring is the default keyring where that is another one than "login".
type ring struct {
	service     *secretservice.SecretService
	path        dbus.ObjectPath
	locked      bool
	loginLocked bool
}

// besideLogin returns nil where "login" is the default keyring, or there is no other.
func besideLogin(loginLocked bool) *ring {
	s, err := secretservice.NewSecretService()
	if err != nil {
		return nil
	}
	r := &ring{service: s, loginLocked: loginLocked}
	err = s.Object(serviceName, servicePath).Call("org.freedesktop.Secret.Service.ReadAlias", 0, "default").Store(&r.path)
	if err != nil || r.path == "/" || r.path == loginPath {
		return nil
	}
	var there bool
	if r.locked, there = lockedAt(s, r.path); !there {
		return nil
	}
	return r
}

// homeOf is the keyring of an item: where it is, else where its folder's manifest is,
// else "login" or, where that is locked and has nothing of authferry's, this one.
func (r *ring) homeOf(item string) dbus.ObjectPath {
	store, _, _ := strings.Cut(item, "/")
	for _, name := range []string{item, store + "/manifest"} {
		for _, path := range []dbus.ObjectPath{loginPath, r.path} {
			if len(r.find(path, map[string]string{"username": name, "service": Service})) > 0 {
				return path
			}
		}
	}
	if r.loginLocked && !r.locked && len(r.find(loginPath, map[string]string{"service": Service})) == 0 {
		return r.path
	}
	return loginPath
}

// find looks into a keyring, which may be locked.
func (r *ring) find(path dbus.ObjectPath, attributes map[string]string) []dbus.ObjectPath {
	found, err := r.service.SearchItems(r.service.Object(serviceName, path), attributes)
	if err != nil {
		return nil
	}
	return found
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
	return r.service.CreateItem(r.service.Object(serviceName, r.path), fmt.Sprintf("Password for '%s' on '%s'", name, Service),
		map[string]string{"username": name, "service": Service}, secretservice.NewSecret(session.Path(), text))
}

func (r *ring) delete(name string) error {
	item, err := r.item(name)
	if err != nil {
		return err
	}
	return r.service.Delete(item)
}
