package oauth

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
)

// Page is what the person's browser shows at the end of a login. All of it is
// plain text, and may come from outside.
type Page struct {
	OK    bool
	Title string
	Text  string
	Next  string // a command to run, if there is one
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

func (p Page) write(w http.ResponseWriter) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		http.Error(w, "the page can't be shown; the terminal has the outcome", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address of this page has the code in it
	h.Set("X-Content-Type-Options", "nosniff")
	if !p.OK {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = w.Write(b.Bytes())
	_ = http.NewResponseController(w).Flush()
}
