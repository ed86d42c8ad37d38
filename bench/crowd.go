package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/index"
)

// accounts measures the hot path by how many accounts there are.
func (b *bench) accounts() (result, error) {
	r := result{
		text:   "A stored token, by the number of accounts in the index.",
		header: []string{"accounts", "index KB", "token ms", "p95 ms", "status --json ms", "token, of 10 accounts"},
		unit:   "ms, median and p95",
	}
	path := filepath.Join(os.Getenv("AUTHFERRY_DIR"), "index.json")
	original, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	defer func() { _ = os.WriteFile(path, original, 0o600) }()
	counts := []int{1, 10, 100, 1000, 10_000}
	var programs []program
	var sizes []int
	for _, n := range counts {
		crowd, err := b.crowd(n)
		if err != nil {
			return r, err
		}
		sizes = append(sizes, len(crowd))
		put := func(*program) error { return os.WriteFile(path, crowd, 0o600) }
		token := b.token("--account", "bench")
		token.each = put
		programs = append(programs, token, program{name: "status", args: []string{b.path("authferry"), "status", "--json"}, each: put})
	}
	runs, err := alternate(b.rounds(40), programs)
	if err != nil {
		return r, err
	}
	ten := median(runs[2], wall)
	for i, n := range counts {
		token, status := runs[2*i], runs[2*i+1]
		m := median(token, wall)
		r.add(fmt.Sprint(n), f0(float64(sizes[i])/1024), f1(ms(m)), f1(ms(quantile(token, 0.95, wall))), f1(ms(median(status, wall))), f2(ratio(m, ten))+" ×")
		r.bars = append(r.bars, bar{fmt.Sprint(n), ms(m), ms(quantile(token, 0.95, wall)), true})
		if n == 100 {
			r.atMost("100 accounts, of 10", 1.15, ratio(m, ten), "×")
		}
	}
	return r, nil
}

// crowd is the content of an index with the account bench and n-1 more like it,
// in pools of ten.
func (b *bench) crowd(n int) ([]byte, error) {
	ix, err := index.At(os.Getenv("AUTHFERRY_DIR")).Read()
	if err != nil {
		return nil, err
	}
	for _, a := range ix.Accounts {
		if a.Label == "bench" {
			ix.Accounts = []index.Account{a}
		}
	}
	ix.Pools = map[string]index.Pool{}
	for i := range n {
		if i > 0 {
			twin := ix.Accounts[0]
			twin.ID, twin.Label, twin.Pool, twin.Rank = index.NewID(), fmt.Sprintf("twin %d", i), fmt.Sprintf("pool %d", i/10), i%10+1
			ix.Accounts = append(ix.Accounts, twin)
		}
		a := ix.Accounts[i]
		ix.Pools[a.Pool] = index.Pool{Provider: a.Provider, Current: a.ID}
	}
	dir := b.path("crowd")
	if _, err := index.At(dir).Mend(ctx, ix); err != nil { // there is none
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "index.json"))
}

// keyring measures the hot path, and a rotation, with many items of other
// programs in the same keyring.
func (b *bench) keyring() (result, error) {
	items := b.rounds(1000)
	r := result{
		text:   fmt.Sprintf("The same collection, without and with %d items of 400 bytes that belong to other programs.", items),
		header: []string{"other items", "authferry token ms", "bare Get ms", "ratio", "a rotation ms"},
	}
	programs := []program{b.token("--account", "bench"), b.bare()}
	for _, others := range []int{0, items} {
		for i := range others {
			if err := store(strings.Repeat("x", 400), "secret-tool", "store", "--label=other", "service", "other", "username", fmt.Sprint(i)); err != nil {
				return r, err
			}
		}
		runs, err := alternate(b.rounds(100), programs)
		if err != nil {
			return r, err
		}
		var rotations []run
		for i := range b.rounds(10) {
			label := expiring(others, i)
			if err := b.addAccount(nil, label, 1); err != nil {
				return r, err
			}
			time.Sleep(1100 * time.Millisecond)
			one, err := once(b.token("--account", label))
			if err != nil {
				return r, err
			}
			rotations = append(rotations, one)
		}
		token, bare := median(runs[0], wall), median(runs[1], wall)
		r.add(fmt.Sprint(others), f1(ms(token)), f1(ms(bare)), f2(ratio(token, bare))+" ×", f0(ms(median(rotations, wall))))
	}
	return r, nil
}
