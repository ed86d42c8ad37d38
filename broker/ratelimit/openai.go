package ratelimit

import "strconv"

// openAI reads the buckets of an API key, which OpenAI and many others state as a duration.
// (A bucket refills within seconds or minutes, so it is a throttle.)
func (said *reading) openAI() {
	for _, unit := range []string{"requests", "tokens"} {
		if remaining := "x-ratelimit-remaining-" + unit; said.header[remaining] == "0" {
			name := "x-ratelimit-reset-" + unit
			said.add(signal{kind: Throttle, bucket: true, source: remaining}.until(signal{at: said.when(said.header[name]), source: name}))
		}
	}
}

// codex reads the windows of a ChatGPT plan. They have no status: if there is a limit, the
// full window caused it. A slot with a length of 0 is not in use.
func (said *reading) codex() {
	for _, slot := range []string{"primary", "secondary"} {
		prefix := "x-codex-" + slot + "-"
		percent, ok := number(said.header[prefix+"used-percent"])
		length := said.header[prefix+"window-minutes"]
		if !ok || length == "0" {
			continue
		}
		s := signal{kind: Spent, window: true, source: prefix + "used-percent"}.
			until(signal{at: said.stamp(said.header[prefix+"reset-at"]), source: prefix + "reset-at"}).
			until(signal{at: said.when(said.header[prefix+"reset-after-seconds"]), source: prefix + "reset-after-seconds"})
		said.use(windowName(length, slot), percent/100, s.at)
		if percent >= 100 {
			said.add(s)
		}
	}
}

// windowName makes "5h" of 300 minutes. Which window is in which slot depends on the plan,
// so the slot is the name only if there is no length.
func windowName(minutes, slot string) string {
	n, err := strconv.Atoi(minutes)
	switch {
	case err != nil || n < 0:
		return slot
	case n%(24*60) == 0:
		return strconv.Itoa(n/(24*60)) + "d"
	case n%60 == 0:
		return strconv.Itoa(n/60) + "h"
	}
	return strconv.Itoa(n) + "m"
}
