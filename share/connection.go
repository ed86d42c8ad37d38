package share

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/engine"
)

// Connection is where a pool's engine is and what this machine shows to it.
type Connection struct {
	Endpoints []string        // https, or http to this machine
	Prefix    string          // before all keys of shared pools, and a slash
	CA        string          // PEM; empty: those that the system trusts
	Cert      string          // PEM; empty: the engine asks for none
	Key       keystore.Secret // PEM
}

// Dialer connects to an engine. It may do so when the connection is first used. Errors are
// those of package engine.
type Dialer func(ctx context.Context, c Connection) (engine.Engine, error)

// check says what is wrong with c before anything is sent anywhere.
func (c Connection) check() error {
	if len(c.Endpoints) == 0 {
		return fault.Errorf(fault.Usage, "the engine's address is missing")
	}
	if c.Prefix == "" || len(c.Prefix) > 128 || strings.HasSuffix(c.Prefix, "/") || strings.ContainsFunc(c.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.Errorf(fault.Usage, "the prefix of the engine's keys has 1 to 128 visible characters, and doesn't end with a slash")
	}
	for _, e := range c.Endpoints {
		if _, err := oauth.Origin(e); err != nil {
			return fault.Errorf(fault.Usage, "the engine's address %s can't be used", fault.Quote(e)).Because(err)
		}
		if u, err := url.Parse(e); err != nil || u.Port() == "" {
			return fault.Errorf(fault.Usage, "the engine's address %s has no port; etcd's is 2379, unless its settings say another", fault.Quote(e))
		}
	}
	if c.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)) {
		return fault.Errorf(fault.Usage, "the engine's CA is no certificate in PEM")
	}
	if (c.Cert == "") != c.Key.Empty() {
		return fault.Errorf(fault.Usage, "a certificate and its key only go together")
	}
	if c.Cert != "" {
		if _, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key.Reveal())); err != nil {
			return fault.Errorf(fault.Usage, "the certificate and the key for the engine don't fit together, or aren't in PEM")
		}
	}
	return nil
}

// mayBeMachines says why the certificate isn't one to give to a machine: with its key, that
// machine could be any other one, or administer the engine.
func (c Connection) mayBeMachines() error {
	cert := c.leaf()
	switch {
	case cert == nil:
		return nil
	case cert.IsCA:
		return fault.Errorf(fault.Usage, "this is an authority's certificate, whose key makes certificates for anybody; a machine needs one of its own").Try(fault.Remedy{Do: fault.ShareRights})
	case cert.Subject.CommonName == "root":
		return fault.Errorf(fault.Usage, "this is the certificate of the engine's administrator; a machine needs one of its own").Try(fault.Remedy{Do: fault.ShareRights})
	}
	return nil
}

// leaf is the certificate that this machine shows; nil: none.
func (c Connection) leaf() *x509.Certificate {
	block, _ := pem.Decode([]byte(c.Cert))
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}

// user is the engine's user of the certificate; empty: unknown.
func (c Connection) user() string {
	if cert := c.leaf(); cert != nil {
		return cert.Subject.CommonName
	}
	return ""
}

// endsAt is when the certificate ends; zero: never.
func (c Connection) endsAt() time.Time {
	if cert := c.leaf(); cert != nil {
		return cert.NotAfter
	}
	return time.Time{}
}

// engineFault is the error of a command for one of the engine.
func (m *Membership) engineFault(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fault.Errorf(fault.Cancelled, "interrupted while waiting for the engine; nothing was lost").Because(ctx.Err())
	case errors.Is(err, engine.ErrRefused):
		if m.Unfinished { // it was never let in
			return fault.Errorf(fault.NotAMember, "the engine refuses this machine: its certificate isn't valid, or gives it no rights to pool %s", fault.Quote(m.Local)).Because(err).
				Try(fault.Remedy{Do: fault.ShareRights}, m.afterRefusal())
		}
		return fault.Errorf(fault.NotAMember, "the engine refuses this machine: it was removed from pool %s, or its certificate isn't valid", fault.Quote(m.Local)).Because(err).
			Try(fault.Remedy{Do: fault.ShareDoctor, Pool: m.Local}, fault.Remedy{Do: fault.ShareLeave, Pool: m.Local}, fault.Remedy{Do: fault.ShareJoin})
	}
	return fault.Errorf(fault.EngineUnreachable, "the engine of pool %s can't be reached; no login was lost", fault.Quote(m.Local)).Because(err).Try(fault.Remedy{Do: fault.Again})
}

// afterRefusal is what to do once a machine that was never let in has another certificate.
func (m *Membership) afterRefusal() fault.Remedy {
	switch {
	case m.Ticket == "":
		return fault.Remedy{Do: fault.ShareStart, Pool: m.Local}
	case m.Name != "": // joining has begun
		return fault.Remedy{Do: fault.ShareLeave, Pool: m.Local}
	}
	return fault.Remedy{Do: fault.ShareInvite, Pool: m.Local}
}

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }
