package oidc

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	formTag  = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputTag = regexp.MustCompile(`(?is)<input\b([^>]*)>`)
	action   = attribute("action")
	name     = attribute("name")
	value    = attribute("value")
)

func attribute(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b` + name + `="([^"]*)"`)
}

// Visit opens a page as a person with a browser would: follows redirects, signs
// in as user (every name is known, and no password wrong), agrees to everything
// it is asked, and stops at the first page that asks nothing. It takes an
// authorization URL as well as a device flow's verification_uri_complete, and
// returns the address and the text of the last page: a callback's, say. It
// remembers nothing between visits, so two of them are two people.
func Visit(rawURL, user string) (*url.URL, string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, "", err
	}
	browser := &http.Client{Jar: jar}
	resp, err := browser.Get(rawURL)
	for range 10 { // a login takes three pages, a device login five
		if err != nil {
			return nil, "", err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, "", err
		}
		here := resp.Request.URL
		form := formTag.FindStringSubmatch(string(text))
		if form == nil {
			return here, string(text), nil
		}
		if resp.StatusCode != http.StatusOK {
			return nil, "", fmt.Errorf("%s%s: %s", here.Host, here.Path, resp.Status)
		}
		next, err := here.Parse(first(action, form[1]))
		if err != nil {
			return nil, "", err
		}
		resp, err = browser.PostForm(next.String(), answers(form[2], user))
		if err != nil {
			return nil, "", err
		}
	}
	return nil, "", fmt.Errorf("%s asks without end", rawURL)
}

// SignIn is Visit for a test that can't go on without it.
func SignIn(t testing.TB, rawURL, user string) {
	t.Helper()
	if _, _, err := Visit(rawURL, user); err != nil {
		t.Fatalf("signing in: %v", err)
	}
}

func answers(form, user string) url.Values {
	fields := url.Values{}
	for _, input := range inputTag.FindAllStringSubmatch(form, -1) {
		field, content := first(name, input[1]), first(value, input[1])
		switch field {
		case "":
			continue
		case "login":
			content = user
		case "password":
			content = "any will do"
		}
		fields.Set(field, content)
	}
	return fields
}

func first(pattern *regexp.Regexp, text string) string {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return html.UnescapeString(strings.TrimSpace(match[1]))
}
