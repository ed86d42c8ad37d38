package folder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/rawtext"
)

// Config is config.toml: the settings for all accounts.
type Config struct {
	Failover    bool   // use the next account of the pool when one is held
	Strategy    string // "sticky" or "soonest-reset"
	SwitchAt    int    // percent of a quota window from which a fresher account is preferred; 0: none
	ThrottleMax time.Duration
	TermsNotice bool // remind people of the provider's terms at the first login
}

// The strategies.
const (
	Sticky       = "sticky"
	SoonestReset = "soonest-reset"
)

var defaultConfig = Config{Failover: true, Strategy: Sticky, ThrottleMax: 10 * time.Second, TermsNotice: true}

// setting is one key of config.toml: how its value is read and checked.
type setting struct {
	key string
	get func(*Config) any
	set func(*Config, string) error
}

var settings = []setting{
	{"failover", func(c *Config) any { return c.Failover }, setBool(func(c *Config) *bool { return &c.Failover })},
	{"strategy", func(c *Config) any { return c.Strategy }, func(c *Config, v string) error {
		if v != Sticky && v != SoonestReset {
			return errors.New("must be sticky or soonest-reset")
		}
		c.Strategy = v
		return nil
	}},
	{"switch_at", func(c *Config) any { return c.SwitchAt }, func(c *Config, v string) error {
		n, err := strconv.Atoi(strings.TrimSuffix(v, "%"))
		if v == "off" {
			n, err = 0, nil
		}
		if err != nil || n < 0 || n > 100 {
			return errors.New("must be a percentage from 1 to 100, or 0 for off")
		}
		c.SwitchAt = n
		return nil
	}},
	{"terms_notice", func(c *Config) any { return c.TermsNotice }, setBool(func(c *Config) *bool { return &c.TermsNotice })},
	{"throttle_max", func(c *Config) any { return c.ThrottleMax.String() }, func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > 10*time.Minute {
			return errors.New("must be a duration from 0s to 10m")
		}
		c.ThrottleMax = d
		return nil
	}},
}

func setBool(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil && v != "on" && v != "off" {
			return errors.New("must be on or off")
		}
		*field(c) = on || v == "on"
		return nil
	}
}

func configPath(f *Folder) string { return filepath.Join(f.Dir, "config.toml") }

// Config returns the folder's settings. What can't be read of config.toml causes a warning
// and counts as not set, because it must not cost a token. But failover=false is a promise
// to stay with one account: if it may be there, it applies.
func (f *Folder) Config() Config {
	if f.config == nil {
		c, err := LoadConfig(f)
		switch {
		case err != nil && !c.Failover:
			f.Warn(err.Error() + "; there is no failover until it can be read")
		case err != nil:
			f.Warn(err.Error())
		}
		f.config = &c
	}
	return *f.config
}

// LoadConfig reads config.toml. With an error it returns the settings that could be read.
func LoadConfig(f *Folder) (Config, error) {
	c := defaultConfig
	_, raw, err := readConfigFile(f)
	if err != nil {
		c.Failover = false
		return c, err
	}
	for _, s := range settings {
		v, ok := raw[s.key]
		if !ok {
			continue
		}
		if bad := s.set(&c, toString(v)); bad != nil {
			err = cmp.Or(err, error(fault.Errorf(fault.Usage, "config.toml: %s %v", s.key, bad).Try(fault.Remedy{Do: fault.SetSetting, Name: s.key})))
			c.Failover = c.Failover && s.key != "failover"
		}
	}
	return c, err
}

// maxConfig is far above any real file. It limits the work that each token pays for: the
// parser compares each key with all others.
const maxConfig = 16 << 10

// readConfigFile returns the text of the file and the settings in it.
func readConfigFile(f *Folder) (text []byte, raw map[string]any, err error) {
	if text, err = atomicfile.Read(configPath(f), maxConfig); err == nil {
		text, err = rawtext.UTF8(text)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.Is(err, atomicfile.ErrUnfit), errors.Is(err, rawtext.ErrNotText):
		return nil, nil, fault.Errorf(fault.Usage, "config.toml can't be used").Try(fault.Remedy{Do: fault.EditFile, Path: configPath(f)}).Because(err)
	case err != nil:
		return nil, nil, fault.Errorf(fault.Internal, "config.toml can't be read").Because(err)
	}
	if err := toml.Unmarshal(text, &raw); err != nil {
		return nil, nil, fault.Errorf(fault.Usage, "config.toml is not valid TOML").Try(fault.Remedy{Do: fault.EditFile, Path: configPath(f)}).Because(err)
	}
	return text, raw, nil
}

func toString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

// ConfigKeys lists the settings, sorted.
func ConfigKeys() []string {
	var keys []string
	for _, s := range settings {
		keys = append(keys, s.key)
	}
	return keys
}

// ConfigGet returns the value of one setting. Errors: Usage.
func ConfigGet(f *Folder, key string) (any, error) {
	c, err := LoadConfig(f)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		if s.key == key {
			return s.get(&c), nil
		}
	}
	return nil, unknownKey(key)
}

// ConfigSet changes one setting. All other lines of config.toml stay, comments included.
// Errors: Usage, LockTimeout.
func ConfigSet(ctx context.Context, f *Folder, key, value string) error {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return unknownKey(key)
	}
	c := defaultConfig
	if err := settings[i].set(&c, value); err != nil {
		return fault.Errorf(fault.Usage, "%s %v", key, err)
	}
	set := settings[i].get(&c)
	l, err := lockSettings(ctx, f, "config.toml")
	if err != nil {
		return err
	}
	defer l.Release()
	text, _, err := readConfigFile(f)
	if err != nil {
		return err
	}
	line, err := toml.Marshal(map[string]any{key: set})
	if err != nil {
		return err
	}
	changed := replaceLine(string(text), key, string(line))
	var after map[string]any
	if toml.Unmarshal([]byte(changed), &after) != nil || toString(after[key]) != fmt.Sprint(set) || len(changed) > maxConfig {
		return fault.Errorf(fault.Usage, "config.toml can't be edited safely; it was left as it is").Try(fault.Remedy{Do: fault.EditFile, Path: configPath(f)})
	}
	return writeConfig(f, l, changed)
}

func unknownKey(key string) error {
	return fault.Errorf(fault.Usage, "there is no setting %s; there are: %s", strconv.Quote(key), strings.Join(ConfigKeys(), ", "))
}

// replaceLine replaces the line that sets key; if there is none, it adds line at the top.
func replaceLine(text, key, line string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if name, _, ok := strings.Cut(l, "="); ok && strings.TrimSpace(name) == key {
			lines[i] = line
			return strings.Join(lines, "")
		}
	}
	return line + text // at the top, because below a [table] it would be part of that table
}

// lockSettings is held from before config.toml or providers.toml (the file called name) is
// read until it is changed, so that what another process sets at the same time isn't lost.
func lockSettings(ctx context.Context, f *Folder, name string) (*lock.Lock, error) {
	if err := cmp.Or(noLink(f, name), f.Make()); err != nil {
		return nil, err
	}
	return f.Lock(ctx, lock.Settings)
}

// LockSetup is held while other programs' configuration is read and changed. Errors:
// LockTimeout.
func LockSetup(ctx context.Context, f *Folder) (release func(), err error) {
	if err := f.Make(); err != nil {
		return nil, err
	}
	l, err := f.Lock(ctx, lock.Setup)
	if err != nil {
		return nil, err
	}
	return l.Release, nil
}

// noLink refuses to change a file of the folder that is a link: its target could be any
// file, even one with secrets, and would be changed or copied here.
func noLink(f *Folder, name string) error {
	if err := f.Mine(); err != nil {
		return err
	}
	path := filepath.Join(f.Dir, name)
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fault.Errorf(fault.Usage, "%s is a link, and authferry doesn't change what it points to", name).
			Try(fault.Remedy{Do: fault.EditFile, Path: path}, fault.Remedy{Do: fault.DeleteFile, Path: path})
	}
	return nil
}

// writeConfig replaces config.toml, while l is held.
func writeConfig(f *Folder, l *lock.Lock, text string) error {
	if err := atomicfile.Write(configPath(f), []byte(text), 0o600, l.Confirm); err != nil {
		return fault.Errorf(fault.Internal, "config.toml can't be written").Because(err)
	}
	return nil
}
