package ratelimit

import (
	"maps"
	"slices"
	"strings"
)

const (
	unified = "anthropic-ratelimit-unified-"
	bucket  = "anthropic-ratelimit-"
)

// anthropic reads the windows of a subscription, whose status is allowed,
// allowed_warning or rejected and whose reset is an epoch, and the buckets of an
// API key, whose reset is RFC 3339.
func (said *reading) anthropic() {
	h := said.header
	reset := func(name string) signal {
		return signal{at: said.stamp(h[name]), source: name}
	}
	// The sum of all windows. Its reset is that of the window that is rejected.
	whole := signal{kind: Spent, window: true, source: unified + "status"}.until(reset(unified + "reset"))

	rejected := false
	for _, window := range said.windows() {
		own := reset(unified + window + "-reset")
		if used, ok := number(h[unified+window+"-utilization"]); ok {
			said.use(window, used, own.at)
		}
		if status := unified + window + "-status"; h[status] == "rejected" {
			rejected = true
			said.add(signal{kind: Spent, window: true, model: OfOneModel(window), source: status}.until(whole).until(own))
		}
	}

	// Credits are for models that the subscription doesn't include. Without credits the
	// account still has its windows.
	noCredits := said.failure.named("credits_required") || h[unified+"overage-disabled-reason"] == "out_of_credits"
	switch status := h[unified+"status"]; {
	case rejected:
	case status == "rejected":
		whole.model = noCredits || OfOneModel(h[unified+"representative-claim"])
		said.add(whole)
	case status == "" && noCredits:
		said.add(signal{kind: Spent, model: true, source: unified + "overage-disabled-reason"})
	}

	for _, unit := range []string{"requests", "tokens", "input-tokens", "output-tokens"} {
		if remaining := bucket + unit + "-remaining"; h[remaining] == "0" {
			name := bucket + unit + "-reset"
			said.add(signal{kind: Throttle, bucket: true, source: remaining}.until(signal{at: said.when(h[name]), source: name}))
		}
	}
}

// windows returns the names of the windows, sorted: "5h", "7d", "7d_opus". Usage that is
// billed extra has the same form but is no window.
func (said *reading) windows() []string {
	found := map[string]bool{}
	for name := range said.header {
		rest, ok := strings.CutPrefix(name, unified)
		if !ok {
			continue
		}
		for _, field := range []string{"-status", "-utilization"} {
			if window, ok := strings.CutSuffix(rest, field); ok && window != "overage" {
				found[window] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
