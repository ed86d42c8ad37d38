// Package ratelimit reads a provider's response and says what it means for the
// account that was used. All its functions are pure.
//
// The rules, in this order:
//
//  1. The status gives the kind of the response: 2xx success, 401 auth, 402
//     spent, 403 policy, 429 throttle, 503, 529 and 0 (no answer came) overload,
//     any other 4xx the request's own fault, the rest nothing.
//  2. An error inside a 2xx body, be it JSON or an event of a stream, counts as
//     if it had been the status. A 429 or 5xx whose body speaks of capacity is an
//     overload. GitHub says 403 for a limit; there its headers decide. A 400 or 403
//     is a limit where its body says so by a name (body.go) or a sentence (text.go)
//     that is known: credit or quota is used up, the account or its organization has
//     no access any more. What is about the request stays that.
//  3. What the provider says about quota counts only with a limit (402, 429, or
//     an error that means one): a success is never a hold, however full a window.
//  4. Only rejected windows count. Those of the whole account come before those
//     of one model, and among them the one that resets last. A rejected window
//     without a usable time takes the one of Retry-After.
//  5. Without a rejected window it is a throttle: the wait is the longer one of
//     Retry-After and the body's; where there is no Retry-After, an exhausted
//     bucket's counts too. Up to Response.ThrottleMax it is worth waiting for, twice;
//     the third attempt makes a guessed hold. A longer wait is a hold.
//  6. A limit without any time is a guessed hold.
//  7. An overload is retried after 1, 2, 4 … 60 s by attempt, or later where the
//     provider asks for it, and never later than 60 s. It is never a hold.
//  8. A time is never read shorter than it was said: of several, in a list, a body
//     or a sentence, the longest counts, a date without a zone is where it is latest,
//     and fractions are rounded up. Seconds, other units, epochs in any unit, dates
//     and durations are told apart by their form (clock.go, span.go, date.go).
//  9. A time that is past, negative, not finite or over fifty years ahead is as if
//     it had not been said. A wait of nought is one second. A longer hold than
//     the caps allow is cut.
//
// A duration is counted from Response.Now. An absolute time is the server's, so
// the Date header turns it into this machine's.
package ratelimit

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// The longest holds, by what they are based on, and the length of a first guess.
const (
	WindowCap     = 8 * 24 * time.Hour // a reset that the provider states
	RetryAfterCap = 24 * time.Hour     // Retry-After alone
	GuessCap      = 10 * time.Minute
	FirstGuess    = time.Minute
)

// AllScopes is the scope of a hold on the whole account.
const AllScopes = "*"

const (
	maxBody     = 64 << 10
	lastAttempt = 3 // of a throttle; then the account is left alone
	maxBackoff  = time.Minute
)

// Response is a provider's answer, with what matters for judging it.
type Response struct {
	Status int                 // HTTP status; 0 when no answer came
	Header map[string][]string // names in any case
	Body   []byte              // JSON or an event stream; only the first 64 KiB are read

	HoldScope   string        // scope of a hold that is about one model; empty: the whole account
	Attempt     int           // which try of this request it was, from 1
	ThrottleMax time.Duration // the longest wait that is not worth another account
	Now         time.Time     // when the response came in, by this machine's clock
}

// Kind is what a response is about.
type Kind string

// The kinds.
const (
	Success  Kind = "success"
	Spent    Kind = "spent"    // a quota of the account is used up
	Throttle Kind = "throttle" // too fast, or a limit whose nature is not stated
	Overload Kind = "overload" // the provider's capacity; nobody's fault
	Auth     Kind = "auth"     // the token was refused
	Policy   Kind = "policy"   // the account may not do this
	Request  Kind = "request"  // the request itself is at fault
	Other    Kind = "other"    // says nothing about the account
)

// Verdict is what a response means. It is one of: a hold (Held), a wait
// (Retry), or neither, where Kind says whether the token was refused (Auth) and
// whether guessed holds were proven wrong (Success).
type Verdict struct {
	Kind Kind

	Until  time.Time // end of the hold, always after Response.Now; zero: no hold
	Scope  string    // of the hold: AllScopes or Response.HoldScope; empty without one
	Source string    // what it rests on: a header, in lower case, a path in the body, or "status 429"
	Proven bool      // the provider stated the time; else it is FirstGuess from now
	Cut    bool      // the provider stated a longer time than the cap

	RetryAfter time.Duration // of a throttle or an overload that is no hold, over 0; else 0
	Usage      []Window      // as stated with any status; sorted by name
}

// Window is how much of a quota window is used.
type Window struct {
	Window   string    // "5h", "7d", "7d_opus"
	Used     float64   // 1 is all of it; may be more
	ResetsAt time.Time // this machine's time; zero: not stated
}

// Held reports whether the account is to be left alone until v.Until.
func (v Verdict) Held() bool { return !v.Until.IsZero() }

// Retry reports whether the same account is to be tried again after
// v.RetryAfter.
func (v Verdict) Retry() bool { return v.RetryAfter > 0 }

// Guess returns how long a guessed hold lasts after so many guesses in a row:
// FirstGuess, doubled with each, up to GuessCap. cut is true from where the cap
// takes hold.
func Guess(before int) (d time.Duration, cut bool) {
	d = FirstGuess
	for range before {
		if d *= 2; d > GuessCap {
			return GuessCap, true
		}
	}
	return d, false
}

// Judge says what r means. It takes any input and never fails.
func Judge(r Response) Verdict {
	r.Now = r.Now.Round(0) // what goes to a file has no monotonic clock
	said := read(r)
	rejected, spent := said.last(Spent)

	v := Verdict{Kind: kindOf(r.Status), Usage: said.usage}
	switch {
	case v.Kind == Success && said.failure != nil:
		v.Kind = cmp.Or(said.failure.kind(), Other)
	case (v.Kind == Throttle && !spent || v.Kind == Other) && said.failure.kind() == Overload:
		v.Kind = Overload
	case v.Kind == Policy && said.refusedByGitHub():
		v.Kind = Throttle
	case r.Status == 400 || r.Status == 403:
		if kind := said.failure.kind(); kind == Spent || kind == Throttle {
			v.Kind = kind
		}
	}
	if v.Kind == Throttle && spent {
		v.Kind = Spent
	}

	asked := said.retryAfter()
	switch v.Kind {
	case Overload:
		other, _ := said.last(Throttle)
		wait := max(asked.at.Sub(r.Now), other.at.Sub(r.Now))
		v.RetryAfter = max(backoff(r.Attempt), min(wait, maxBackoff))
	case Spent:
		if rejected.at.IsZero() || !rejected.window {
			rejected = rejected.later(asked, r.Now)
		}
		v.hold(r, rejected)
	case Throttle:
		refill, _ := said.last(Throttle)
		if !asked.at.IsZero() {
			told, _ := said.told()
			refill = refill.until(told.later(asked, r.Now))
		}
		wait := refill.at.Sub(r.Now)
		switch {
		case wait <= 0 || wait > r.ThrottleMax:
			v.hold(r, refill)
		case r.Attempt < lastAttempt:
			v.RetryAfter = wait
		default:
			if wait <= FirstGuess { // a guess is no shorter than what was said
				refill.at = time.Time{}
			}
			v.hold(r, refill)
		}
	}
	return v
}

// hold makes v a hold until s.at, or a guessed one where s states no time.
func (v *Verdict) hold(r Response, s signal) {
	v.Scope = AllScopes
	if s.model {
		v.Scope = cmp.Or(r.HoldScope, AllScopes)
	}
	v.Source = cmp.Or(s.source, "status "+strconv.Itoa(r.Status))
	if s.at.IsZero() {
		v.Until = r.Now.Add(FirstGuess)
		return
	}
	v.Until, v.Proven = s.at, true
	if last := r.Now.Add(s.longest); v.Until.After(last) {
		v.Until, v.Cut = last, true
	}
}

func kindOf(status int) Kind {
	switch {
	case status == 0 || status == 503 || status == 529:
		return Overload
	case status == 401:
		return Auth
	case status == 402:
		return Spent
	case status == 403:
		return Policy
	case status == 429:
		return Throttle
	case status >= 200 && status < 300:
		return Success
	case status >= 400 && status < 500:
		return Request
	}
	return Other
}

func backoff(attempt int) time.Duration {
	d := time.Second
	for range attempt - 1 {
		if d *= 2; d > maxBackoff {
			return maxBackoff
		}
	}
	return d
}

// Reason says in a few plain words what a hold is based on, by the Source of its Verdict:
// "5-hour limit", "token limit", "the API asked to wait". Every source has a reason; that
// of an unknown one is "limit reported by the API".
func Reason(source string) string {
	// The last name of a path in a body may be that of a header.
	source = strings.ReplaceAll(strings.ToLower(source[strings.LastIndexByte(source, '.')+1:]), "retry_after", "retry-after")
	if window, ok := strings.CutPrefix(source, unified); ok {
		return unifiedReason(window)
	}
	switch {
	case strings.HasPrefix(source, bucket):
		return bucketReason(strings.TrimPrefix(source, bucket))
	case strings.HasPrefix(source, "x-codex-"):
		return "plan limit"
	case strings.HasPrefix(source, "x-ratelimit-remaining-"), strings.HasPrefix(source, "x-ratelimit-reset-"):
		return bucketReason(source[strings.LastIndexByte(source, '-')+1:])
	case strings.HasPrefix(source, "x-ratelimit-"), strings.HasPrefix(source, "x-rate-limit-"), strings.HasPrefix(source, "ratelimit"):
		return "rate limit"
	case strings.HasPrefix(source, "retry-after"), source == "x-ms-retry-after-ms":
		return "the API asked to wait"
	case source == "status 402":
		return "payment required"
	case source == "status 429":
		return "too many requests"
	}
	return "limit reported by the API"
}

// maxWindow is above the name of any window that is worth showing, in bytes.
const maxWindow = 32

// unifiedReason makes "7-day opus limit" of 7d_opus-reset.
func unifiedReason(field string) string {
	if field == "overage-disabled-reason" {
		return "no credits left"
	}
	for _, end := range []string{"-status", "-reset"} {
		if window, ok := strings.CutSuffix(field, end); ok && len(window) <= maxWindow {
			return WindowName(window)
		}
	}
	return "usage limit"
}

// bucketReason makes "input token limit" of input-tokens-reset.
func bucketReason(field string) string {
	for _, end := range []string{"-remaining", "-reset"} {
		field = strings.TrimSuffix(field, end)
	}
	switch field {
	case "requests", "tokens", "input-tokens", "output-tokens":
		return strings.ReplaceAll(strings.TrimSuffix(field, "s"), "-", " ") + " limit"
	}
	return "rate limit"
}

// OfOneModel reports whether a window is of one model, not of the account: "7d_opus" and
// "seven_day_opus" are, "7d" and "seven_day" are not.
func OfOneModel(window string) bool {
	switch window {
	case "five_hour", "seven_day":
		return false
	}
	return strings.Contains(window, "_")
}

// WindowName says in words which limit a window is: "5-hour limit" for 5h, "7-day opus
// limit" for 7d_opus. A window of another form keeps its own name.
func WindowName(window string) string {
	length, model, _ := strings.Cut(window, "_")
	name := strings.ReplaceAll(window, "_", " ")
	for letter, unit := range map[string]string{"m": "minute", "h": "hour", "d": "day"} {
		number, ok := strings.CutSuffix(length, letter)
		if n, err := strconv.Atoi(number); ok && err == nil && n > 0 {
			name = strings.TrimSpace(strconv.Itoa(n) + "-" + unit + " " + strings.ReplaceAll(model, "_", " "))
		}
	}
	return strings.TrimSpace(name + " limit")
}
