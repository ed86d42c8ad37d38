package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/cmd/authferry/setup"
	"github.com/authferry/authferry/humantime"
)

// proxyChecks checks whether the authferry serve that clients are set up for is running,
// and which program has its place.
func proxyChecks(a *app) (checks []doctor.Check) {
	say := func(status doctor.Status, next fault.Remedy, format string, args ...any) {
		check := doctor.Check{Name: "proxy", Status: status, Message: fmt.Sprintf(format, args...)}
		if next.Do != "" {
			check.Next = []fault.Remedy{next}
		}
		checks = append(checks, check)
	}
	running := slices.DeleteFunc(folder.Proxies(a.broker.Folder), func(v folder.ProxyView) bool { return v.Program != folder.ServeProgram })
	for _, v := range running {
		say(doctor.OK, fault.Remedy{}, "authferry serve (pid %d) listens at %s since %s", v.PID, printable(v.Listen), humantime.At(v.Since, time.Now()))
	}
	m, err := thisMachine()
	if err != nil {
		return checks
	}
	unit := "" // if the session starts one
	for _, client := range setup.Clients() {
		address := strings.TrimPrefix(client.Proxy(m), "http://")
		title := client.Title
		if client.Name == "serve" {
			unit, title = address, "the session"
		}
		there := func(v folder.ProxyView) bool { return v.Listen == address }
		if address == "" || slices.ContainsFunc(running, there) {
			continue
		}
		serve := fault.Remedy{Do: serveAt}
		if address != setup.DefaultListen {
			serve.Value = address
		}
		if len(running) > 0 {
			if client.Name != "serve" {
				say(doctor.Warning, fault.Remedy{Do: setUpIn, Name: client.Name, Value: "proxy"}, "%s is set up for authferry serve at %s, which listens at %s", title, address, printable(running[0].Listen))
			}
			continue
		}
		owner, taken := whoListens(a, address)
		switch {
		case owner != "":
			say(doctor.Fail, fault.Remedy{Do: serveAt, Value: "127.0.0.1:PORT"}, "%s is set up for authferry serve at %s, and user %s has that port; nothing is sent there", title, address, owner)
		case taken && unit != address && client.Name != "serve":
			say(doctor.Warning, fault.Remedy{}, "%s is set up for authferry serve at %s, and another program has that port; nothing is sent there", title, address)
		case client.Name == "serve":
			say(doctor.Warning, fault.Remedy{Do: plain, Value: setup.StartService(m)}, "authferry serve is set up to run with every session, and doesn't run")
		case !taken:
			say(doctor.Warning, serve, "%s is set up for authferry serve at %s, and none is running", title, address)
		}
	}
	return checks
}

// whoListens says whether an address is in use and, if it is known, by which other user.
func whoListens(a *app, address string) (owner string, taken bool) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, address = "unix", path
	}
	if uid, ok := portOwner(address); ok && uid != os.Geteuid() {
		name := strconv.Itoa(uid)
		if u, err := user.LookupId(name); err == nil {
			name = cmp.Or(u.Username, name)
		}
		return name, true
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(a.ctx, network, address) // #nosec G704 -- on this machine
	if err != nil {
		return "", false
	}
	_ = conn.Close() // nothing was sent
	return "", true
}
