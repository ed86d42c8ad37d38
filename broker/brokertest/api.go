package brokertest

import (
	"net/http"
	"strconv"
	"time"
)

// Quota limits the API per user.
type Quota struct {
	Requests int           `json:"requests"` // allowed in a window; zero: no limit, negative: none at all
	Window   time.Duration `json:"-"`        // begins with its first request; zero: 1m
	Dialect  Dialect       `json:"dialect"`  // how a refusal is worded; empty: DialectRetryAfter
}

type window struct {
	ends time.Time
	used int
}

// api checks the bearer, counts, and limits.
func (r *request) api() answer {
	now, q := r.server.Now(), r.cfg.Quota
	set(&q.Window, time.Minute)
	set(&q.Dialect, DialectRetryAfter)
	var user string
	var ok bool
	var count int
	var state quotaState
	r.server.books.change(func() {
		b := r.server.books
		if user, _, ok = b.live(now, r.bearer()); !ok {
			b.counts.Unauthorized++
			return
		}
		b.api[user]++
		count = b.api[user]
		w := b.windows[user]
		if w == nil || !now.Before(w.ends) {
			w = &window{ends: now.Add(q.Window)}
			b.windows[user] = w
		}
		w.used++
		state = quotaState{now: now, reset: w.ends, limit: max(q.Requests, 0), used: w.used}
		if q.Requests != 0 && state.over() {
			b.counts.Limited++
		}
	})
	if !ok {
		return unauthorized()
	}
	out := jsonReply(http.StatusOK, map[string]any{"user": user, "path": r.URL.Path, "count": count})
	if q.Requests == 0 {
		return out
	}
	d := dialects[q.Dialect]
	if state.over() {
		out = reply(d.status, d.contentType, state.fill(d.body))
		state.fillHeaders(out.header, d.refused)
	} else {
		state.fillHeaders(out.header, d.allowed)
	}
	return out
}

type quotaState struct {
	now, reset  time.Time
	limit, used int
}

func (q quotaState) over() bool { return q.used > q.limit }

// fill puts the state in place of {seconds}, {reset_unix} and the like.
func (q quotaState) fill(text string) string {
	left := q.reset.Sub(q.now)
	share := 1.0
	if q.limit > 0 {
		share = min(1, float64(q.used)/float64(q.limit))
	}
	return placeholders(
		"{seconds}", strconv.Itoa(int((left+time.Second-1)/time.Second)),
		"{seconds_float}", strconv.FormatFloat(left.Seconds(), 'f', 2, 64),
		"{ms}", strconv.FormatInt(left.Milliseconds(), 10),
		"{duration}", left.Round(time.Millisecond).String(),
		"{reset_unix}", strconv.FormatInt(q.reset.Unix(), 10),
		"{reset_rfc3339}", q.reset.UTC().Format(time.RFC3339),
		"{reset_http}", q.reset.UTC().Format(http.TimeFormat),
		"{limit}", strconv.Itoa(q.limit),
		"{remaining}", strconv.Itoa(max(0, q.limit-q.used)),
		"{fraction}", strconv.FormatFloat(share, 'f', 2, 64),
		"{percent}", strconv.Itoa(int(share*100)),
	).Replace(text)
}

func (q quotaState) fillHeaders(h http.Header, values map[string]string) {
	for name, value := range values {
		h.Set(name, q.fill(value))
	}
}
