package oauth

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// longestBody is the longest body that leaves in one write: with the header it fits into
// the buffers of net/http, and into one record of TLS.
const longestBody = 12 << 10

// departure finds out when a body has left: once all of it was read, the next write to the
// connection has it, or of a longer one a part.
type departure struct {
	patience time.Duration
	read     atomic.Bool
	sent     func()
}

// departs makes r call sent once the last byte of the body has left. sent may be called
// more than once.
func (r *route) departs(sent func(), patience time.Duration) {
	if patience <= 0 {
		patience = defaultTimeout
	}
	r.leaving = &departure{patience: patience, sent: sent}
	r.WriteBufferSize = longestBody + 4<<10
	r.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
}

func (d *departure) over(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what this process leaves behind when it dies is not sent
		giveUpAfter(tcp, d.patience)
	}
	return &departing{conn, d}
}

type departing struct {
	net.Conn
	*departure
}

func (c *departing) Write(p []byte) (int, error) {
	last := c.read.Load()
	n, err := c.Conn.Write(p)
	if last && err == nil {
		c.sent()
	}
	return n, err
}
