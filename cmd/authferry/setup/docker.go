package setup

import (
	"cmp"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
)

// docker: docker login, "Credential helpers". A helper is a program on the PATH called
// docker-credential-NAME. It gets no arguments of ours, so the account is found by the
// host.
var docker = Client{
	Name: "docker", Title: "Docker", Programs: []string{"docker", "podman", "buildah", "skopeo"}, Hosts: true, Joins: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		dir := cmp.Or(m.Getenv("DOCKER_CONFIG"), filepath.Join(m.Home, ".docker"))
		config := filepath.Join(dir, "config.json")
		return []File{{
			Path: config, Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				if len(c.Origins) == 0 {
					return nil, ErrNoHosts
				}
				for _, origin := range c.Origins {
					var err error
					if now, err = putRegistry(now, dockerHost(origin)); err != nil {
						return nil, err
					}
				}
				return now, nil
			},
			Take:    func(now []byte) ([]byte, error) { return takeRegistries(now, c.Origins) },
			Current: func([]byte) bool { return true },
		}, link(m, onPath(m, "docker-credential-"+dockerName)).keptFor(config, c.Origins, takeRegistries)}, nil
	},
	Next: func(m Machine, c Choice) (lines []string) {
		dir := filepath.Dir(onPath(m, "docker-credential-"+dockerName))
		if !slices.Contains(filepath.SplitList(m.Getenv("PATH")), dir) {
			lines = append(lines, "docker looks for it on the PATH: add "+dir)
		}
		if c.selection() != nil {
			lines = append(lines, "docker tells its helper only the host, so the host decides which account is used")
		}
		return lines
	},
}

const (
	credHelpers = "credHelpers"
	dockerName  = "authferry"
)

func putRegistry(now []byte, host string) ([]byte, error) {
	path := []string{credHelpers, host}
	if now != nil {
		d, err := parseJSON(now)
		if err != nil {
			return nil, err
		}
		var helper string
		if there, err := d.decode(path, &helper); err != nil {
			return nil, err
		} else if there && helper != dockerName {
			return nil, refuse("for %s it already has the helper %q", host, helper).instead("take %q out of %q in that file", host, credHelpers)
		}
	}
	return setJSON(now, path, dockerName)
}

// takeRegistries removes the origins, or all if none is named.
func takeRegistries(now []byte, origins []string) ([]byte, error) {
	if now == nil {
		return nil, nil
	}
	d, err := parseJSON(now)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if _, err := d.decode([]string{credHelpers}, &all); err != nil {
		return nil, err
	}
	var hosts []string
	for _, origin := range origins {
		hosts = append(hosts, dockerHost(origin))
	}
	for _, host := range slices.Sorted(maps.Keys(all)) {
		if all[host] != dockerName || len(hosts) > 0 && !slices.Contains(hosts, host) {
			continue
		}
		if now, err = dropJSON(now, []string{credHelpers, host}); err != nil || now == nil {
			return nil, err
		}
	}
	return now, nil
}

// dockerHost is a registry as docker names it: without the scheme, and Docker Hub by its
// old address.
func dockerHost(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return origin
	}
	switch u.Host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "https://index.docker.io/v1/"
	}
	return u.Host
}
