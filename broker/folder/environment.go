package folder

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/version"
)

// FromEnvironment returns the options that the documented environment variables name.
// person: somebody could answer a prompt of the keychain, so it may take 2 minutes. Errors:
// Usage.
func FromEnvironment(person bool) (Options, error) {
	dir, err := DefaultDir()
	if err != nil {
		return Options{}, err
	}
	keyFile, err := DefaultKeyFile()
	if err != nil {
		return Options{}, err
	}
	opt := Options{Dir: dir, Keystore: keystore.Kind(os.Getenv("AUTHFERRY_KEYSTORE")), KeyFile: keyFile, Client: oauth.Client{Version: version.String()}}
	if person {
		opt.KeychainTimeout = 2 * time.Minute
	}
	for name, d := range map[string]*time.Duration{
		"AUTHFERRY_KEYCHAIN_TIMEOUT": &opt.KeychainTimeout, "AUTHFERRY_LOCK_TIMEOUT": &opt.LockTimeout, "AUTHFERRY_HTTP_TIMEOUT": &opt.HTTPTimeout,
	} {
		v := os.Getenv(name)
		if v == "" {
			continue
		}
		if *d, err = time.ParseDuration(v); err != nil || *d <= 0 {
			return opt, fault.Errorf(fault.Usage, "%s is not a duration such as 30s, 2m or 1m30s", name).Try(fault.Remedy{Do: fault.WithVariable, Name: name, Value: "30s"})
		}
	}
	return opt, nil
}

// LogTo sets opt.Log to what --verbose shows.
func (opt *Options) LogTo(w io.Writer) {
	opt.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
