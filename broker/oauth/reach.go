package oauth

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// reach is how near to this machine an address is. A document from a server must not lead
// to an address that is nearer than the server itself.
type reach int

const (
	public  reach = iota // the Internet
	private              // a private network
	local                // this machine
)

var (
	errNear   = errors.New("it leads from a public server into a private network, or to this machine")
	errNobody = errors.New("no server may be at this address: it is the network's own")
)

// carrierGrade is the shared address space of RFC 6598. nat64 is the prefix of RFC 6052
// before an IPv4 address.
var (
	carrierGrade = netip.MustParsePrefix("100.64.0.0/10")
	nat64        = netip.MustParsePrefix("64:ff9b::/96")
)

// reachOf refuses link-local addresses, at which clouds provide a machine's own
// credentials, and addresses that are nobody's.
func reachOf(ip netip.Addr) (reach, error) {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified(), !ip.IsValid():
		return public, errNobody
	case ip.IsLoopback():
		return local, nil
	case ip.IsPrivate(), carrierGrade.Contains(ip):
		return private, nil
	}
	return public, nil
}

// nameReach is what can be told from a host name alone, for connections through a proxy,
// which resolves the name itself.
func nameReach(u *url.URL) (reach, error) {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return local, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return public, nil //nolint:nilerr // it is a name
	}
	return reachOf(ip)
}

// The limits of one exploration.
const (
	exploreTime  = 30 * time.Second
	documentTime = 10 * time.Second
	maxRequests  = 12
)

var errTooMany = errors.New("it leads from one document to the next without end")

// exploration is the way through the documents of a server that is not trusted.
type exploration struct {
	mu       sync.Mutex
	requests int
	most     int   // requests; 0: any number
	known    bool  // that of the server itself; its first answer tells
	limit    reach // nothing may be nearer than this
}

// begin counts a request.
func (x *exploration) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.requests++; x.most > 0 && x.requests > x.most {
		return say(errTooMany.Error(), errTooMany)
	}
	return nil
}

// admit refuses addresses that are nearer than the server is.
func (x *exploration) admit(near reach, err error) error {
	if err != nil {
		return say(err.Error(), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.known && near > x.limit {
		return say(errNear.Error(), errNear)
	}
	return nil
}

// arrived learns from the first answer where the server is. A name may have several
// addresses; the one that answered counts.
func (x *exploration) arrived(near reach, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.known && err == nil {
		x.known, x.limit = true, near
	}
}

// dialed is a net.Dialer's ControlContext. It checks the address that a name was resolved
// to, so a name that changes between a check and the connection gains nothing.
func (x *exploration) dialed(_ context.Context, _, address string, _ syscall.RawConn) error {
	return x.admit(addressReach(address))
}

func addressReach(address string) (reach, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return public, errNobody
	}
	return reachOf(at.Addr())
}

// exploring returns c for the documents of one server.
func (c *Client) exploring() *Client {
	x := *c
	x.within = &exploration{most: maxRequests}
	return &x
}

// settled returns c for the requests after the search: it still connects to nothing nearer,
// but the number of requests is not limited.
func (c *Client) settled() *Client {
	c.within.mu.Lock()
	defer c.within.mu.Unlock()
	x := *c
	x.within = &exploration{known: c.within.known, limit: c.within.limit}
	return &x
}

// reaches are the names of how near a server can be, as records have them.
var reaches = map[string]reach{"public": public, "private": private, "local": local}

// Reach is how near r's server is to this machine, as its address showed: see Service.
func (r *Remote) Reach() string {
	x := r.client.within
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, near := range reaches {
		if x.known && near == x.limit {
			return name
		}
	}
	return ""
}

// For is c for what is sent on behalf of a login at s: it connects to nothing that is
// nearer to this machine than s was. A name of a public server can lead elsewhere later.
// For a login that isn't for a remote MCP server, it is c.
func (c *Client) For(s Service) *Client {
	limit, known := reaches[s.Reach]
	if !known {
		return c
	}
	x := *c
	x.within = &exploration{known: true, limit: limit}
	return &x
}
