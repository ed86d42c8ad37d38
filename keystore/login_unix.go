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

// loginKeyring is the short way to the items in "login": search, open a session, get the
// secret. The library takes seven calls for that, because it also asks which keyrings there
// are, and unlocks both keyring and item.
//
// The short way never prompts. In any unusual case (locked, another keyring, no keyring,
// several items of one name, an error) the error is errLong, and the library takes over.
//
// The session belongs to the process, and ends with its connection. OpenSession must not be
// a process's first call, nor be sent before another call was answered: either can crash
// gnome-keyring-daemon.
type loginKeyring struct {
	conn    *dbus.Conn
	session dbus.ObjectPath
	known   string // the last name whose item and parts were found to belong to "login"
}

// login is used by one operation at a time: the one in the process's lane.
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
	if found == "" {
		return "", keyring.ErrNotFound
	}
	if err := l.open(s); err != nil {
		return "", errLong
	}
	secret, err := s.GetSecret(found, l.session)
	if err != nil {
		l.session = "" // it may belong to a daemon that has restarted
		return "", errLong
	}
	return string(secret.Value), nil
}

// set follows a get of the item or of its parts, which has usually found out where they
// belong.
func (l *loginKeyring) set(item, text string) error {
	s, err := secretservice.NewSecretService()
	if err != nil {
		return errLong
	}
	if l.known != headOf(item) || l.conn != s.Conn {
		if _, _, err := l.find(item); err != nil {
			return err
		}
	}
	if l.open(s) != nil {
		return errLong
	}
	err = s.CreateItem(s.Object(serviceName, loginPath), label(item), attributes(item), secretservice.NewSecret(l.session, text))
	if err != nil {
		l.session = ""
		return errLong
	}
	return nil
}

// find returns the path of an item in "login"; empty: it belongs there and doesn't exist.
func (l *loginKeyring) find(item string) (*secretservice.SecretService, dbus.ObjectPath, error) {
	l.known = ""
	s, err := secretservice.NewSecretService()
	if err != nil {
		return nil, "", errLong
	}
	if l.conn != s.Conn {
		l.conn, l.session = s.Conn, ""
	}
	found, err := inLogin(s, item)
	head, at := headOf(item), found
	if err == nil && found == "" && head != item { // a part is where its head is
		at, err = inLogin(s, head)
	}
	if err != nil || at == "" && !belongs(s, head) {
		return nil, "", errLong
	}
	l.known = head
	return s, found, nil
}

func headOf(item string) string {
	head, _, _ := strings.Cut(item, "#")
	return head
}

// inLogin returns the path of the only item of that name in "login"; else empty.
func inLogin(s *secretservice.SecretService, item string) (dbus.ObjectPath, error) {
	found, err := s.SearchItems(s.Object(serviceName, loginPath), attributes(item))
	if err != nil || len(found) > 1 {
		return "", errLong
	}
	return append(found, "")[0], nil
}

// belongs reports whether "login" is unlocked and the default, and no keyring has the item.
func belongs(s *secretservice.SecretService, item string) bool {
	var unlocked []dbus.ObjectPath
	var prompt, standard dbus.ObjectPath
	service := s.Object(serviceName, servicePath)
	if err := service.Call("org.freedesktop.Secret.Service.ReadAlias", 0, "default").Store(&standard); err != nil || standard != loginPath {
		return false
	}
	if err := service.Call("org.freedesktop.Secret.Service.Unlock", 0, []dbus.ObjectPath{loginPath}).Store(&unlocked, &prompt); err != nil || prompt != "/" || len(unlocked) != 1 {
		return false
	}
	open, locked, err := search(s, attributes(item))
	return err == nil && len(open)+len(locked) == 0
}

func (l *loginKeyring) open(s *secretservice.SecretService) error {
	if l.session != "" {
		return nil
	}
	session, err := s.OpenSession()
	if err == nil {
		l.session = session.Path()
	}
	return err
}

func label(item string) string { return fmt.Sprintf("Password for '%s' on '%s'", item, Service) }
