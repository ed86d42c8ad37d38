package serve

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/keystore"
)

// replies are what an API may say, and whether the same request may go on to another
// account after it.
var replies = map[string]struct {
	refusal bool
	do      func(s script) http.HandlerFunc
}{
	"answer":               {false, func(s script) http.HandlerFunc { return streams(s.early, s.content, s.last) }},
	"limit":                {true, status(429, "Retry-After", "3600")},
	"throttle":             {true, status(429, "Retry-After-Ms", "5")},
	"payment":              {true, status(402)},
	"refused token":        {true, status(401)},
	"limit before content": {true, func(s script) http.HandlerFunc { return streams(s.early, s.limit) }},
	"limit after content":  {false, func(s script) http.HandlerFunc { return streams(s.early, s.content, s.limit) }},
	"forbidden":            {false, status(403)},
	"bad request":          {false, status(400)},
	"overloaded":           {false, status(529)},
	"server error":         {false, status(500)},
	"no answer":            {false, func(script) http.HandlerFunc { return streams("CUT") }},
	"broken prelude":       {false, func(s script) http.HandlerFunc { return streams(s.early, "CUT") }},
	"broken answer":        {false, func(s script) http.HandlerFunc { return streams(s.early, s.content, "CUT") }},
}

func status(code int, header ...string) func(script) http.HandlerFunc {
	return func(script) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
}

// Whatever an API says to whom, its ledger has what may be sent again and no more: only
// after a refusal, once to each account, once more after a throttle; and a client has one
// answer, which is no limit while an account is free, or if the API refuses all of them.
func TestLedger(t *testing.T) {
	t.Parallel()
	who := []string{"ada", "bob", "eve"}
	w := newWorld(t)
	for _, label := range who {
		w.add(account.NewAccount{Label: label, Provider: w.provider(), APIKey: keystore.NewSecret("token-" + label)})
	}
	w.open()
	kinds := slices.Sorted(maps.Keys(replies))
	rapid.Check(t, func(t *rapid.T) {
		w.free(who...)
		for range rapid.IntRange(1, 4).Draw(t, "requests") {
			a := rapid.SampledFrom([]api{messages, responses, chat}).Draw(t, "api")
			s := scripts[a]
			will := rapid.SliceOfN(rapid.SampledFrom(kinds), 2*len(who), 2*len(who)).Draw(t, "answers")
			var said []string
			w.api.will(func(rw http.ResponseWriter, r *http.Request) {
				kind := "answer"
				if len(said) < len(will) {
					kind = will[len(said)]
				}
				said = append(said, kind)
				replies[kind].do(s)(rw, r)
			})
			res := w.post(s.path, aModel)

			asked := strings.Fields(w.api.asked())
			allowed := map[string]int{}
			for i, kind := range said {
				if i < len(said)-1 && !replies[kind].refusal {
					t.Fatalf("%q to %q: sent again", said, asked)
				}
				if allowed[asked[i]] == 0 {
					allowed[asked[i]] = 1
				}
				if kind == "throttle" {
					allowed[asked[i]] = 2
				}
			}
			for _, label := range who {
				n := 0
				for _, other := range asked {
					if other == label {
						n++
					}
				}
				if n > allowed[label] {
					t.Fatalf("%q to %q: %d requests with %s's token", said, asked, n, label)
				}
				if res.status == 429 && n == 0 && w.holds(label) == "" {
					t.Fatalf("%q to %q: the client hears of a limit, and %s is free", said, asked, label)
				}
			}
			if begun := strings.Count(res.body, s.early); begun > 1 {
				t.Fatalf("%q to %q: %d beginnings in %q", said, asked, begun, res.body)
			}
			if len(said) > 0 && said[len(said)-1] == "answer" && (res.err != nil || res.body != s.early+s.content+s.last) {
				t.Fatalf("%q to %q: %v, %q", said, asked, res.err, res.body)
			}
			// Nobody is asked if all are held. That is no limit where the API refuses all tokens.
			refused := !slices.ContainsFunc(who, func(label string) bool { return !w.refused(label) })
			if len(said) == 0 && (res.status == 429) == (refused && a != messages) {
				t.Fatalf("nobody was asked, all are refused: %v, and the client got %d: %s", refused, res.status, res.body)
			}
		}
	})
}
