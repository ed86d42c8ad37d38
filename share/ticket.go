package share

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/seal"
)

// ticket is what a machine needs to join: one line of text, and a secret.
type ticket struct {
	Connection
	ID   string
	Pool string // id
	Name string // of the pool
	seal.TicketKeys
	Reusable  bool
	ExpiresAt time.Time
	// Epoch and Verify name the pool's signing key. Cluster and Revision are what the
	// engine must not fall behind.
	Epoch    int
	Verify   string
	Cluster  string
	Revision int64
}

type ticketWire struct {
	Endpoints []string  `json:"endpoints"`
	CA        string    `json:"ca,omitempty"`
	Cert      string    `json:"cert,omitempty"`
	Key       string    `json:"key,omitempty"`
	ID        string    `json:"id"`
	Pool      string    `json:"pool"`
	Name      string    `json:"name"`
	Prefix    string    `json:"prefix"`
	Identity  string    `json:"identity"`
	Sign      string    `json:"sign"`
	Reusable  bool      `json:"reusable,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
	Epoch     int       `json:"epoch"`
	Verify    string    `json:"verify"`
	Cluster   string    `json:"cluster"`
	Revision  int64     `json:"revision"`
}

// ticketPrefix begins every ticket, so that a person and a scanner for secrets know one. Its
// number is that of the form.
const ticketPrefix = "authferry-share1"

// maxTicket is the size of the longest ticket.
const maxTicket = 64 << 10

func (t *ticket) text() (string, error) {
	text, err := json.Marshal(ticketWire{
		t.Endpoints, t.CA, t.Cert, t.Key.Reveal(), t.ID, t.Pool, t.Name, t.Prefix, t.Identity.Reveal(), t.Sign.Reveal(),
		t.Reusable, t.ExpiresAt, t.Epoch, t.Verify, t.Cluster, t.Revision,
	})
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(text), err
}

var errTicket = errors.New("it begins with " + ticketPrefix + " and is on one line")

// parseTicket reads what text returned. Its errors never quote the input.
func parseTicket(text string) (*ticket, error) {
	bad := func(err error) (*ticket, error) {
		return nil, fault.Errorf(fault.Usage, "this is not a ticket for a shared pool").Because(err)
	}
	text = strings.TrimSpace(text)
	encoded, ours := strings.CutPrefix(text, ticketPrefix)
	switch {
	case !ours && strings.HasPrefix(text, strings.TrimRight(ticketPrefix, "1")):
		return nil, fault.Errorf(fault.IndexTooNew, "this ticket is of a newer authferry").Try(fault.Remedy{Do: fault.ShowVersion})
	case !ours || len(text) > maxTicket:
		return bad(errTicket)
	}
	plain, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return bad(errTicket)
	}
	var w ticketWire
	if json.Unmarshal(plain, &w) != nil {
		return bad(errTicket)
	}
	t := &ticket{
		Connection: Connection{w.Endpoints, w.Prefix, w.CA, w.Cert, keystore.NewSecret(w.Key)}, ID: w.ID, Pool: w.Pool, Name: w.Name,
		TicketKeys: seal.TicketKeys{Identity: keystore.NewSecret(w.Identity), Sign: keystore.NewSecret(w.Sign)},
		Reusable:   w.Reusable, ExpiresAt: w.ExpiresAt, Epoch: w.Epoch, Verify: w.Verify, Cluster: w.Cluster, Revision: w.Revision,
	}
	if _, err := seal.Recipient(t.Identity); err != nil || !index.ValidTicketID(t.ID) || !index.ValidSharedPoolID(t.Pool) || t.Verify == "" {
		return bad(errTicket)
	}
	return t, t.check()
}

// used is the error for a ticket that is no longer good.
func (t *ticket) used(why string) error {
	return fault.Errorf(fault.TicketUsed, "%s", why).Try(fault.Remedy{Do: fault.ShareInvite, Pool: t.Name})
}
