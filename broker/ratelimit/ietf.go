package ratelimit

import (
	"slices"
	"strings"
	"time"
)

// ietf reads the RateLimit fields of draft-ietf-httpapi-ratelimit-headers. Later drafts
// have lists of named limits, with a remaining quota r and a time t, and policies with
// windows w:
//
//	RateLimit: "hour";r=0;t=1800, "day";r=10;t=50000
//	RateLimit-Policy: "hour";q=100;w=3600
//
// Earlier drafts have RateLimit-Remaining and RateLimit-Reset, or
//
//	RateLimit: limit=100, remaining=0, reset=50
//
// A limit that is used up without a time lasts as long as its policy's window at most.
func (said *reading) ietf() {
	policies := limits(said.header["ratelimit-policy"])
	for i, l := range limits(said.header["ratelimit"]) {
		remaining, reset := l.first("r", "remaining"), l.first("t", "reset")
		if remaining != "0" && (remaining != "" || reset == "") {
			continue
		}
		at := said.when(reset)
		if at.IsZero() {
			j := slices.IndexFunc(policies, func(p limit) bool { return p.name == l.name && l.name != "" })
			if j < 0 {
				j = i
			}
			if j < len(policies) {
				at = said.when(policies[j].first("w", "window"))
			}
		}
		said.add(signal{kind: Throttle, bucket: true, source: "ratelimit"}.until(signal{at: at, source: "ratelimit"}))
	}
	if said.header["ratelimit"] == "" {
		said.exhausted("ratelimit-remaining", "ratelimit-reset", time.Second)
	}
}

// kin reads the X-RateLimit fields of the many APIs that have one reset for all units.
func (said *reading) kin() {
	for _, prefix := range []string{"x-ratelimit-", "x-rate-limit-"} {
		said.exhausted(prefix+"remaining", prefix+"reset", time.Second)
		said.exhausted(prefix+"remaining", prefix+"reset-after", time.Second) // Discord
		said.exhausted(prefix+"remaining", prefix+"retry-after", time.Second)
		said.exhausted(prefix+"remaining", prefix+"reset-ms", time.Millisecond)
		said.exhausted(prefix+"remaining", prefix+"retry-after-ms", time.Millisecond)
	}
}

// exhausted adds a signal made of two fields, if nothing remains or the remainder is
// unknown.
func (said *reading) exhausted(remaining, reset string, unit time.Duration) {
	if left := said.header[remaining]; left != "" && !strings.HasPrefix(left, "0") && !strings.Contains(left, " 0") || said.header[reset] == "" {
		return
	}
	said.add(signal{kind: Throttle, bucket: true, source: reset}.until(signal{at: said.wait(said.header[reset], unit), source: reset}))
}

// limit is one member of such a list.
type limit struct {
	name   string
	params map[string]string
}

func (l limit) first(names ...string) string {
	for _, n := range names {
		if v, ok := l.params[n]; ok {
			return v
		}
	}
	return ""
}

// limits reads a list of members, each a name with parameters. A list of pairs, as in the
// draft with a single limit, is one member.
func limits(field string) (all []limit) {
	pairs := limit{params: map[string]string{}}
	for member := range strings.SplitSeq(field, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(member), ";")
		l := limit{name: strings.Trim(name, `" `), params: map[string]string{}}
		for p := range strings.SplitSeq(params, ";") {
			if key, value, ok := strings.Cut(p, "="); ok {
				l.params[strings.ToLower(strings.TrimSpace(key))] = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		if key, value, ok := strings.Cut(l.name, "="); ok && len(l.params) == 0 {
			pairs.params[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
			continue
		}
		if l.name != "" {
			all = append(all, l)
		}
	}
	if len(pairs.params) > 0 {
		all = append(all, pairs)
	}
	return all
}
