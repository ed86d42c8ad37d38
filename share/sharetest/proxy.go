package sharetest

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Answers is what becomes of what a server sends.
type Answers int

// Answers arrive, are lost while the connection stays, or break it.
const (
	Arrive Answers = iota
	Vanish
	Break
)

// Proxy is a TCP connection to a node on which answers get lost. It remembers all that goes
// through on its way to a plain cluster.
type Proxy struct {
	listener net.Listener
	target   string
	scheme   string

	mu      sync.Mutex
	answers Answers
	cut     bool
	open    []net.Conn
	seen    bytes.Buffer
	wait    sync.WaitGroup
}

// Tap is a proxy to a node, until the test ends. What comes out at Endpoint is that node.
func (c *Cluster) Tap(t testing.TB, node int) *Proxy {
	t.Helper()
	target, err := url.Parse(c.nodes[node].endpoint)
	testenv.Must(t, err)
	p := &Proxy{target: target.Host, scheme: target.Scheme}
	p.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.Cut(true)
		p.wait.Wait()
	})
	return p
}

// Endpoint is the proxy's address.
func (p *Proxy) Endpoint() string { return p.scheme + "://" + p.listener.Addr().String() }

// Lose decides what becomes of answers from now on.
func (p *Proxy) Lose(answers Answers) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = answers
}

// Cut breaks all connections, and each new one, until it is called with false.
func (p *Proxy) Cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for _, c := range p.open {
			_ = c.Close()
		}
		p.open = nil
	}
}

// Seen is all that went through so far, in both directions.
func (p *Proxy) Seen() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen.Bytes())
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		cut := p.cut
		p.mu.Unlock()
		if cut {
			_, _ = client.Close(), server.Close()
			continue
		}
		p.wait.Go(func() { p.copy(server, client, false) })
		p.wait.Go(func() { p.copy(client, server, true) })
	}
}

func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		if p.scheme == "http" { // the rest can't be read
			p.seen.Write(buffer[:n])
		}
		fate := p.answers
		p.mu.Unlock()
		switch {
		case answers && fate == Vanish:
		case answers && fate == Break && n > 0:
			return
		default:
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
