package main

import (
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

func samplePool(now time.Time) broker.PoolView {
	in := func(d time.Duration) time.Time { return now.Add(d) }
	return broker.PoolView{Name: "team", Provider: "acme", Reason: `"Personal" is held: 5-hour limit, resets 16:42; the first free one by rank`, Accounts: []pool.AccountView{
		{Label: "Personal", Provider: "acme", State: pool.Held, Holds: []pool.HoldView{{Scope: "*", Until: in(150 * time.Second), Proven: true, Source: "anthropic-ratelimit-unified-5h-reset"}},
			Usage: []pool.UsageView{{Window: "5h", Used: 1, ResetsAt: in(150 * time.Second)}, {Window: "7d", Used: 0.637, ResetsAt: in(50 * time.Hour)}}},
		{Label: "Work", Provider: "acme", State: pool.Valid, Current: true, ExpiresAt: in(7*time.Hour + 56*time.Minute),
			Holds: []pool.HoldView{{Scope: "model:opus", Until: in(2 * time.Hour)}}, RefreshExpiresAt: in(50 * time.Hour), EndsSoon: in(50 * time.Hour), Renew: fault.Remedy{Do: fault.Login, Provider: "acme", Account: "Work"},
			Usage: []pool.UsageView{{Window: "5h", Used: 0.996}, {Window: "7d", Used: 0.12}, {Window: "7d_opus", Used: 1.3}}},
		{Label: "日本語の長いラベルはどこまで続くのか誰も知らない", Provider: "acme", State: pool.NeedsLogin, Renew: fault.Remedy{Do: fault.Login, Provider: "acme", Account: "日本語の長いラベルはどこまで続くのか誰も知らない"}},
		{Label: "evil\x1b[2J\nname", Provider: "acme", State: pool.Disabled},
	}}
}

// A status fits every terminal from 60 to 200 columns, and says all it has to
// say without colour.
func TestStatusFits(t *testing.T) {
	now := time.Now()
	for columns := narrowest; columns <= widest; columns++ {
		p := &page{width: columns}
		p.pool(samplePool(now), now)
		p.proxy(folder.ProxyView{PID: 4711, Program: "claude", Since: now.Add(-24 * time.Hour), Pools: []string{"team", "another-pool", "日本語の長いラベルはどこまで続くのか"}}, now)
		text := p.text.String()
		for line := range strings.Lines(text) {
			// but for a command, which is to be pasted whole
			if n := cells(strings.TrimSuffix(line, "\n")); n > columns && !strings.HasPrefix(strings.TrimSpace(line), "authferry login ") {
				t.Fatalf("%d columns: a line takes %d: %s", columns, n, line)
			}
		}
		for _, want := range []string{"team · acme · 4 accounts", "current  Work", "held: 5-hour limit", "valid, 7h 56m left", "login needed:", "authferry login acme --renew '日本語の", "disabled",
			"5-hour limit", "100% used, resets ", "64% used, resets ", "99% used", "130% used", "model:opus held: ", "next to be free: Personal, in 2m 30s", "the login ends in 2d 2h", "running: claude (pid 4711), since ", `evil\u001b`} {
			if !strings.Contains(text, want) {
				t.Fatalf("%d columns: no %q in\n%s", columns, want, text)
			}
		}
	}
}

// With colour it is the same text.
func TestStatusIsNotByColourAlone(t *testing.T) {
	now := time.Now()
	plain, coloured := &page{width: 100}, &page{width: 100, colour: true}
	plain.pool(samplePool(now), now)
	coloured.pool(samplePool(now), now)
	text := coloured.text.String()
	if !strings.Contains(text, "\x1b[") {
		t.Fatal("no colour at all")
	}
	for _, style := range []string{"0", "1", "2", "31", "32", "33"} {
		text = strings.ReplaceAll(text, "\x1b["+style+"m", "")
	}
	unpadded := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if unpadded(text) != unpadded(plain.text.String()) {
		t.Errorf("coloured:\n%s\nplain:\n%s", text, plain.text.String())
	}
	bare := &page{width: 100, ascii: true}
	bare.pool(broker.PoolView{Name: "p", Provider: "p", Accounts: samplePool(now).Accounts[:2]}, now)
	for _, r := range bare.text.String() {
		if r > 127 {
			t.Fatalf("%q in a C locale:\n%s", r, bare.text.String())
		}
	}
}
