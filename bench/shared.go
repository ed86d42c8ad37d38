package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/etcd"
)

// shared measures what it costs that other machines have a login too: nothing for a token
// that is stored, and for a new one some calls of the engine, which is a real etcd.
func (b *bench) shared() (*table, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + listener.Addr().String()
	_ = listener.Close()
	server := exec.CommandContext(ctx, "etcd", "--data-dir", b.path("etcd"), "--log-level", "error", "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint,
		"--listen-peer-urls", "http://127.0.0.1:0")
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("needs etcd (Debian: etcd-server): %w", err)
	}
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	e, err := etcd.Open(etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }()
	value := make([]byte, 3000) // as long as an account's record
	var now engine.Entry
	swap := func() (run, error) {
		start := time.Now()
		next, won, err := e.Swap(ctx, "authferry/bench", now.Version, value)
		r := run{wall: time.Since(start)}
		if err == nil && !won {
			err = errors.New("somebody else was first")
		}
		now = next
		return r, err
	}
	for range 200 { // until it has started
		if _, err = swap(); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	one, other := []string{"AUTHFERRY_DIR=" + b.path("one")}, []string{"AUTHFERRY_DIR=" + b.path("other")}
	if err := b.pair(endpoint, one, other); err != nil {
		return nil, err
	}
	within, err := b.within(endpoint)
	if err != nil {
		return nil, err
	}

	const (
		bareSwap  = "bare compare-and-swap, 3 KB"
		local     = "authferry token"
		together  = "authferry token, shared account"
		refresh   = "authferry refresh"
		refreshed = "authferry refresh, shared account"
		adoption  = "the same, another machine just has"
	)
	words := func(env []string, args ...string) []string {
		return append(append(append([]string{"env"}, env...), b.path("authferry")), args...)
	}
	t := &table{text: "An etcd of one node on this machine. The token endpoint takes 100 ms of each refresh."}
	t.add(b.program(together, "", words(one, "token", "--account", "together")...).against(local), b.program(local, "", words(one, "token", "--account", "alone")...))
	if err := b.alternate(t, 400, 15*time.Second); err != nil {
		return nil, err
	}
	adopt := func() (run, error) {
		before := b.server.TokenRequests()
		if _, err := b.authferry(one, "", "refresh", "together"); err != nil {
			return run{}, err
		}
		r, err := once(command(words(other, "refresh", "together")))
		if n := b.server.TokenRequests() - before; err == nil && n != 1 {
			err = fmt.Errorf("a refresh and an adoption made %d requests", n)
		}
		return r, err
	}
	t.add(row{name: bareSwap, sample: swap}, b.program(refresh, "", words(one, "refresh", "alone")...), b.program(refreshed, "", words(one, "refresh", "together")...).against(refresh), row{name: adoption, sample: adopt})
	t.add(within...)
	if err := b.alternate(t, 60, 60*time.Second); err != nil {
		return nil, err
	}
	t.goal("a stored token of a shared account, of another one's", "≤", 1.01, "×", t.ratio(together, local, wall))
	t.goal("what sharing adds to a refresh, of bare compare-and-swaps", "≤", 11, "×", t.estimate(func(q quantiles) float64 {
		return (q(refreshed, 0.5, wall) - q(refresh, 0.5, wall)) / q(bareSwap, 0.5, wall)
	}))
	t.goal("an adoption beyond a token's command, of bare compare-and-swaps", "≤", 20, "×", t.estimate(func(q quantiles) float64 {
		return (q(adoption, 0.5, wall) - q(local, 0.5, wall)) / q(bareSwap, 0.5, wall)
	}))
	t.goal("the same in one process, with files as keystore", "≤", 11, "×", t.estimate(func(q quantiles) float64 {
		return (q(refreshedWithin, 0.5, wall) - q(refreshWithin, 0.5, wall)) / q(bareSwap, 0.5, wall)
	}))
	t.goal("an adoption in one process, of bare compare-and-swaps", "≤", 11, "×", t.ratio(adoptionWithin, bareSwap, wall))
	t.goal("two machines at once in one process, beyond the endpoint's latency", "≤", 13, "×", t.estimate(func(q quantiles) float64 {
		return (q(bothWithin, 0.5, wall) - float64(latency.Milliseconds())) / q(bareSwap, 0.5, wall)
	}))
	return t, nil
}
