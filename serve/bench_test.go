package serve

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// BenchmarkFirstContent is the time to a stream's first content: straight to the API,
// through httputil.ReverseProxy alone, and through the proxy; p50 and p95.
func BenchmarkFirstContent(b *testing.B) {
	s := scripts[messages]
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		streams(s.early, s.content, s.last)(w, r)
	}))
	b.Cleanup(api.Close)
	target, _ := url.Parse(api.URL)
	bare := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: NewTransport()})
	b.Cleanup(bare.Close)
	w := newWorld(b)
	p := w.provider()
	p.APIOrigins = []string{api.URL}
	w.add(brokerAccount("ada", p, p.APIOrigins))
	w.open()

	for _, size := range []int{90 << 10, 1 << 20} {
		body := `{"model":"m-1","messages":[{"role":"user","content":"` + strings.Repeat("x", size) + `"}]}`
		for _, way := range []struct{ name, url string }{{"direct", api.URL}, {"bare", bare.URL}, {"authferry", w.url + "/sim"}} {
			b.Run(fmt.Sprintf("%s/%dKB", way.name, size>>10), func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
				defer client.CloseIdleConnections()
				var times []time.Duration
				for b.Loop() {
					r, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, way.url+messagesPath, strings.NewReader(body))
					r.Header.Set("X-Api-Key", localKey)
					started := time.Now()
					res, err := client.Do(r)
					testenv.Must(b, err)
					_, _ = io.ReadFull(res.Body, make([]byte, len(s.early)+1))
					times = append(times, time.Since(started))
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(times[len(times)*95/100].Microseconds()), "p95-µs")
			})
		}
	}
}
