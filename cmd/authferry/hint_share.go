package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/fault"
)

// addShareWriters adds the actions of shared pools.
func addShareWriters(all map[fault.Action]func(hints, fault.Remedy) string) {
	pool := func(words, more, note string) func(hints, fault.Remedy) string {
		return func(h hints, r fault.Remedy) string {
			if strings.HasPrefix(r.Pool, "-") {
				return noted("authferry share "+words+more+h.operand(r.Pool), note)
			}
			return noted("authferry share "+words+h.operand(or(r.Pool, "POOL"))+more, note)
		}
	}
	some := func(words string) func(hints, fault.Remedy) string {
		return func(h hints, r fault.Remedy) string {
			if r.Pool == "" {
				return "authferry share " + words
			}
			return "authferry share " + words + h.operand(r.Pool)
		}
	}
	maps.Copy(all, map[fault.Action]func(hints, fault.Remedy) string{
		fault.InstallShare: func(h hints, r fault.Remedy) string {
			version := "latest"
			if r.Value != "" && r.Value != "(devel)" {
				version = "v" + r.Value
			}
			return "go install " + h.word("github.com/authferry/authferry/cmd/authferry-share@"+version) + " # or install authferry's package again, which has both programs"
		},
		fault.ShareStart:   pool("start", " --endpoint URL --ca CA.pem --cert CERT.pem --key KEY.pem", "where your etcd listens"),
		fault.ShareInvite:  pool("invite", " --cert CERT.pem --key KEY.pem", "on a machine of the pool; the certificate is the new machine's own"),
		fault.ShareJoin:    func(hints, fault.Remedy) string { return "authferry share join # reads the ticket on stdin" },
		fault.ShareLeave:   pool("leave", "", ""),
		fault.ShareMembers: pool("members", "", ""),
		fault.ShareRemove: func(h hints, r fault.Remedy) string {
			pool, machine := or(r.Pool, "POOL"), or(r.Name, "MACHINE")
			return "authferry share remove" + h.operands(pool, machine)
		},
		fault.ShareRecover: func(h hints, r fault.Remedy) string {
			return noted("authferry share recover"+h.operand(or(r.Account, "ACCOUNT")), "only if that machine is gone for good")
		},
		fault.ShareStatus: some("status"),
		fault.ShareDoctor: some("doctor"),
		fault.ShareFix:    some("doctor --fix"),
		fault.ShareServe: func(hints, fault.Remedy) string {
			return "authferry share serve # on a machine that holds the logins"
		},
		fault.ShareRights: func(hints, fault.Remedy) string {
			return "share-certs holder NAME | sh -e # where your etcd is administered; makes a certificate that has rights"
		},
	})
}

// operands are arguments without flags, with a space before each.
func (h hints) operands(values ...string) string {
	line := ""
	if slices.ContainsFunc(values, func(value string) bool { return strings.HasPrefix(value, "-") }) {
		line = " --"
	}
	for _, value := range values {
		line += " " + h.word(value)
	}
	return line
}
