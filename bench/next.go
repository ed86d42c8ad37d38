package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// next measures what a refused request costs: one report that holds the account,
// moves its pool on and hands out the next token, against a plain token. Both
// accounts are freed before each report, which is not measured.
func (b *bench) next() (result, error) {
	labels := [2]string{"first", "second"}
	for _, label := range labels {
		if err := b.addAccount(nil, label, 3600); err != nil {
			return result{}, err
		}
		if _, err := b.authferry("move", label, "--pool", "failover"); err != nil {
			return result{}, err
		}
	}
	token := b.token("--account", "bench", "--json")
	report := program{name: "authferry report --next", args: []string{b.path("authferry"), "report", "--next"}, want: `"action":"switch"`}
	calls := 0
	report.each = func(p *program) error {
		for _, l := range labels {
			if _, err := b.authferry("holds", "clear", l); err != nil {
				return err
			}
		}
		if _, err := b.authferry("use", labels[calls%2]); err != nil {
			return err
		}
		calls++
		out, err := b.authferry("token", "--pool", "failover", "--json")
		if err != nil {
			return err
		}
		var doc struct {
			Lease string `json:"lease"`
		}
		if err := json.Unmarshal(out, &doc); err != nil {
			return err
		}
		p.stdin = fmt.Sprintf(`{"lease":%q,"status":429,"headers":{"retry-after":"3600"},"body":"limited"}`, doc.Lease)
		return nil
	}
	r := result{
		text:   "A 429, reported: the account is held, its pool moves on, the next token is printed, all in one call.",
		header: []string{"command", "median ms", "p95 ms", "CPU ms", "of a token"},
	}
	programs := []program{token, report}
	runs, err := alternate(b.rounds(100), programs)
	if err != nil {
		return r, err
	}
	base := median(runs[0], wall)
	for i, p := range programs {
		m := median(runs[i], wall)
		r.add(strings.TrimPrefix(p.name, "authferry "), f1(ms(m)), f1(ms(quantile(runs[i], 0.95, wall))), f1(ms(median(runs[i], cpu))), f2(ratio(m, base))+" ×")
	}
	return r, nil
}
