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

// reach is how near an address is. A document from a server must not lead to one that
// is nearer than the server itself.
type reach int

const (
	public  reach = iota // anywhere
	private              // a company's or a home's network
	local                // this machine
)

var (
	errNear   = errors.New("it leads from a public server into a private network, or to this machine")
	errNobody = errors.New("no server may be at this address: it is the network's own")
)

// carrierGrade is the shared address space of RFC 6598; nat64 is RFC 6052's prefix
// before an IPv4 address.
var (
	carrierGrade = netip.MustParsePrefix("100.64.0.0/10")
	nat64        = netip.MustParsePrefix("64:ff9b::/96")
)

// reachOf refuses the addresses of the link, where clouds keep their machines' own
// credentials, and those that are nobody's.
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

// nameReach is what an address's host says by itself: it is all there is to go by
// where a proxy looks the name up.
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

// What one exploration may cost.
const (
	exploreTime  = 30 * time.Second
	documentTime = 10 * time.Second
	maxRequests  = 12
)

var errTooMany = errors.New("it leads from one document to the next without end")

// exploration is the way through the documents of a server that nobody vouches for.
type exploration struct {
	mu       sync.Mutex
	requests int
	most     int   // requests; 0: any number
	known    bool  // where the server itself is: its first answer tells
	limit    reach // nearer than this nothing may be
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

// admit refuses what is nearer than the server is.
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
// addresses: the one that answered, for that name, is the one that counts.
func (x *exploration) arrived(near reach, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.known && err == nil {
		x.known, x.limit = true, near
	}
}

// dialed is a net.Dialer's ControlContext: it sees the address that a name led to, so a
// name that changes between a look and the connection gains nothing.
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

// exploring is c for the documents of one server.
func (c *Client) exploring() *Client {
	x := *c
	x.within = &exploration{most: maxRequests}
	return &x
}

// settled is c for what comes after the search: no nearer than that went, and as often
// as it takes.
func (c *Client) settled() *Client {
	c.within.mu.Lock()
	defer c.within.mu.Unlock()
	x := *c
	x.within = &exploration{known: c.within.known, limit: c.within.limit}
	return &x
}
