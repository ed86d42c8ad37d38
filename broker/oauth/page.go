package oauth

import (
	_ "embed"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Page is what the browser shows at the end of a login. Its fields are plain text, and may
// come from outside.
type Page struct {
	OK    bool
	Title string
	Text  string
	Next  string // a command to run; may be empty
}

//go:embed page.html
var pageHTML string

// html fills in the page. Text from outside is only in element content, where
// html.EscapeString is enough. (A template engine would make the program a third larger,
// and every start slower.)
func (p Page) html() string {
	class, mark, next := "", `<path d="M15 25l6.5 6.5L34 18"/>`, ""
	if !p.OK {
		class, mark = ` class="failed"`, `<path d="M24 14v13M24 33.5v.5"/>`
	}
	if p.Next != "" {
		next = "<code>" + html.EscapeString(p.Next) + "</code>"
	}
	return strings.NewReplacer("{class}", class, "{mark}", mark, "{next}", next,
		"{title}", html.EscapeString(p.Title), "{text}", html.EscapeString(p.Text)).Replace(pageHTML)
}

func (p Page) write(w http.ResponseWriter) {
	page := p.html()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address of this page contains the code
	h.Set("X-Content-Type-Options", "nosniff")
	if !p.OK {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, page)
	_ = http.NewResponseController(w).Flush()
}
