package keystore

import (
	"bytes"
	"testing"

	"filippo.io/age"
	"github.com/authferry/authferry/testenv"
)

// Whatever stands in a file, it yields the value of the asked name or an error.
func FuzzUnseal(f *testing.F) {
	identity, err := age.GenerateX25519Identity()
	testenv.Must(f, err)
	sealed, err := seal("name", "value", identity.Recipient())
	testenv.Must(f, err)
	f.Add(sealed, false)
	for _, plain := range []string{
		``, `{}`, `null`, `[]`, `{"name":"name"}`, `{"name":"name","value":null}`, `{"name":"name","value":1}`,
		`{"name":"other","value":"v"}`, `{"name":"name","value":"v"}`, `{"name":"name","value_base64":"dg=="}`,
		`{"name":"name","value_base64":"!"}`, `{"name":"name","value":"v"}x`,
	} {
		f.Add([]byte(plain), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, seals bool) {
		if seals { // the plaintext is what someone else wrote
			var file bytes.Buffer
			w, err := age.Encrypt(&file, identity.Recipient())
			testenv.Must(t, err)
			testenv.Must(t, testenv.Err(w.Write(data)))
			testenv.Must(t, w.Close())
			data = file.Bytes()
		}
		value, err := unseal(data, "name", identity)
		if err != nil {
			if value != "" {
				t.Fatal("an error and a value")
			}
			return
		}
		again, err := seal("name", value, identity.Recipient())
		testenv.Must(t, err)
		if got, err := unseal(again, "name", identity); err != nil || got != value {
			t.Fatalf("sealed again: %v", err)
		}
	})
}
