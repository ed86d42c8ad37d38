package keystore_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/authferry/authferry/keystore"
)

const canary = "hunter2-canary"

// holder has a secret where fmt reaches through unexported fields.
type holder struct {
	Name   string
	Token  keystore.Secret
	hidden keystore.Secret
	inner  *holder
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := keystore.NewSecret(canary)
	h := holder{Name: "n", Token: s, hidden: s, inner: &holder{hidden: s}}
	for _, v := range []any{s, &s, h, &h, []keystore.Secret{s}, map[string]any{"k": h}, [1]holder{h}, struct{ h holder }{h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%c", "%10.3s"} {
			out := fmt.Sprintf(verb, v)
			if strings.Contains(out, canary) || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of %T shows it", verb, v)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		if strings.Contains(log.String(), canary) {
			t.Errorf("slog of %T shows it: %s", v, log.String())
		}
	}
}

func TestSecretDoesNotEncode(t *testing.T) {
	s := keystore.NewSecret(canary)
	for _, v := range []any{s, &s, holder{Token: s}, map[string]keystore.Secret{"k": s}, struct{ S keystore.Secret }{s}} {
		var out bytes.Buffer
		if text, err := json.Marshal(v); err == nil {
			t.Errorf("JSON of %T: %s", v, text)
		}
		if err := gob.NewEncoder(&out).Encode(v); err == nil {
			t.Errorf("gob of %T", v)
		}
		if _, isMap := v.(map[string]keystore.Secret); !isMap {
			if text, err := xml.Marshal(v); err == nil {
				t.Errorf("XML of %T: %s", v, text)
			}
		}
	}
}

func TestSecret(t *testing.T) {
	var zero keystore.Secret
	a, b := keystore.NewSecret("a"), keystore.NewSecret("b")
	switch {
	case !zero.Empty(), !keystore.NewSecret("").Empty(), zero.Reveal() != "", !zero.Equal(keystore.NewSecret("")):
		t.Error("the zero value is not the empty secret")
	case a.Empty(), a.Reveal() != "a", !a.Equal(keystore.NewSecret("a")), a.Equal(b), a.Equal(zero), a.Equal(keystore.NewSecret("aa")):
		t.Error("a secret is not what it was made of")
	}
}

// What is printed of a store or of its errors holds neither value nor key.
func TestStoreDoesNotPrint(t *testing.T) {
	s, dir, _ := newVault(t)
	_ = s.Set(t.Context(), item, keystore.NewSecret(canary))
	tooBig := s.Set(t.Context(), item, keystore.NewSecret(strings.Repeat(canary, keystore.MaxSize/len(canary)+1)))
	_, other := keystore.OpenFile(dir, dir+"/missing")
	for _, v := range []any{s, tooBig, other, keystore.OpenKeychain()} {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, canary) || strings.Contains(out, "AGE-SECRET-KEY") {
				t.Errorf("%s of %T shows it", verb, v)
			}
		}
	}
}
