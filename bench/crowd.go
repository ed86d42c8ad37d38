package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/zalando/go-keyring"
)

// accounts measures the hot path by how many accounts there are.
func (b *bench) accounts() (*table, error) {
	path := filepath.Join(os.Getenv("AUTHFERRY_DIR"), "index.json")
	original, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.WriteFile(path, original, 0o600) }()
	t := &table{text: "By the number of accounts in the index."}
	for _, command := range []string{"token", "status --json"} {
		for _, n := range []int{1, 10, 100, 1000, 10_000} {
			crowd, err := b.crowd(n)
			if err != nil {
				return nil, err
			}
			args := append([]string{b.path("authferry")}, strings.Fields(command)...)
			if command == "token" {
				args = append(args, "--account", "bench")
			}
			r := b.program(fmt.Sprintf("%s, %d", command, n), "", args...).against(command + ", 10")
			unprepared := r.sample
			r.sample = func() (run, error) {
				if err := os.WriteFile(path, crowd, 0o600); err != nil {
					return run{}, err
				}
				return unprepared()
			}
			t.add(r)
		}
	}
	if err := b.alternate(t, 50, 20*time.Second); err != nil {
		return nil, err
	}
	t.goal("token of 1000 accounts, of 10", "≤", 1.3, "×", t.ratio("token, 1000", "token, 10", wall))
	t.goal("token of 10000 accounts, of 10", "≤", 3, "×", t.ratio("token, 10000", "token, 10", wall))
	return t, nil
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
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if _, err := index.At(dir).Mend(ctx, ix); err != nil { // there is none
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "index.json"))
}

// keyring measures the hot path, and a rotation, with many items of other
// programs in the same keyring.
func (b *bench) keyring() (*table, error) {
	items := 1000
	if b.quick {
		items /= 10
	}
	t := &table{text: fmt.Sprintf("The same collection, without and with %d items of 400 bytes that belong to other programs.", items)}
	for _, others := range []int{0, items} {
		for i := range others {
			if err := keyring.Set("other", fmt.Sprint(i), strings.Repeat("x", 400)); err != nil {
				return nil, err
			}
		}
		name := func(what string) string { return fmt.Sprintf("%s, %d others", what, others) }
		t.add(b.token(name(ours), "--account", "bench").against(name(bare)), b.other(name(bare), "bare"))
		if err := b.alternate(t, 100, 3*time.Second); err != nil {
			return nil, err
		}
		t.add(row{name: name("a rotation"), sample: b.expired(1)})
		if err := b.alternate(t, 10, 6*time.Second); err != nil {
			return nil, err
		}
	}
	return t, nil
}
