package authferrytest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/authferry/authferry/broker/brokertest"
)

// SecretsOf are all refresh tokens that s ever issued, how its tokens begin, and the
// PKCE verifiers that came to it.
func SecretsOf(s *brokertest.Server) []string {
	l := s.Ledger()
	secrets := append([]string{"afat_", "afrt_"}, l.Verifiers...)
	for _, f := range l.Families {
		for _, t := range f.RefreshTokens {
			secrets = append(secrets, t.Token)
		}
	}
	return secrets
}

// Leaked names the first file in the folders that holds one of the secrets.
func Leaked(secrets []string, dirs ...string) error {
	for _, dir := range dirs {
		files := os.DirFS(dir)
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := fs.ReadFile(files, path)
			if err != nil {
				return err
			}
			for _, secret := range secrets {
				if bytes.Contains(data, []byte(secret)) {
					return fmt.Errorf("%s holds a secret", filepath.Join(dir, path))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
