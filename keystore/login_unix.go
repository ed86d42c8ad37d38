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

// loginKeyring is the short way to the items of "login": search, open a session, get
// the secret. The library takes eight calls for that, because it also asks which
// keyrings there are, and unlocks both keyring and item.
//
// The short way prompts nobody. Whatever is not as usual (locked,
// another keyring, no keyring, several items of one name, an error) is errLong, and
// the library's to deal with.
//
// The session is the process's, and ends with its connection. A process's first call
// is never its OpenSession, nor is that sent before another one was answered: either
// can abort gnome-keyring-daemon.
type loginKeyring struct {
	conn    *dbus.Conn
	session dbus.ObjectPath
}

// login is used by one operation at a time: those of the process's lane.
var login loginKeyring

var errLong = errors.New("not the usual case")

func attributes(item string) map[string]string {
	return map[string]string{"username": item, "service": Service}
}

func (l *loginKeyring) get(item string) (string, error) {
	s, found, err := l.find(item)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		// A part is looked for where its head is, and nowhere else.
		if head, _, part := strings.Cut(item, "#"); part {
			if _, found, err := l.find(head); err == nil && len(found) == 1 {
				return "", keyring.ErrNotFound
			}
		}
		return "", missing(s, item)
	}
	if err := l.open(s); err != nil {
		return "", errLong
	}
	secret, err := s.GetSecret(found[0], l.session)
	if err != nil {
		l.session = "" // it may be of a daemon that was restarted
		return "", errLong
	}
	return string(secret.Value), nil
}

// set stores an item that is in "login" already, or in no keyring while "login" is
// the default one.
func (l *loginKeyring) set(item, text string) error {
	s, found, err := l.find(item)
	if err != nil || len(found) == 0 && !errors.Is(missing(s, item), keyring.ErrNotFound) || l.open(s) != nil {
		return errLong
	}
	err = s.CreateItem(s.Object(serviceName, loginPath), label(item), attributes(item), secretservice.NewSecret(l.session, text))
	if err != nil {
		l.session = ""
		return errLong
	}
	return nil
}

// find returns the one item of that name in "login", or none.
func (l *loginKeyring) find(item string) (*secretservice.SecretService, []dbus.ObjectPath, error) {
	s, err := secretservice.NewSecretService()
	if err != nil {
		return nil, nil, errLong
	}
	found, err := s.SearchItems(s.Object(serviceName, loginPath), attributes(item))
	if err != nil || len(found) > 1 {
		return nil, nil, errLong
	}
	return s, found, nil
}

// missing is keyring.ErrNotFound for an item that is in no keyring, if "login" is
// open, and the default one.
func missing(s *secretservice.SecretService, item string) error {
	var unlocked []dbus.ObjectPath
	var prompt, standard dbus.ObjectPath
	service := s.Object(serviceName, servicePath)
	if err := service.Call("org.freedesktop.Secret.Service.ReadAlias", 0, "default").Store(&standard); err != nil || standard != loginPath {
		return errLong
	}
	if err := service.Call("org.freedesktop.Secret.Service.Unlock", 0, []dbus.ObjectPath{loginPath}).Store(&unlocked, &prompt); err != nil || prompt != "/" || len(unlocked) != 1 {
		return errLong
	}
	if open, locked, err := search(s, attributes(item)); err != nil || len(open)+len(locked) > 0 {
		return errLong
	}
	return keyring.ErrNotFound
}

func (l *loginKeyring) open(s *secretservice.SecretService) error {
	if l.conn == s.Conn && l.session != "" {
		return nil
	}
	session, err := s.OpenSession()
	if err != nil {
		return err
	}
	l.conn, l.session = s.Conn, session.Path()
	return nil
}

func label(item string) string { return fmt.Sprintf("Password for '%s' on '%s'", item, Service) }
