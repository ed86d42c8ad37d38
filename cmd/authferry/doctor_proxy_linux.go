package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// portOwner is the user whose program listens at an address of this machine.
func portOwner(address string) (uid int, ok bool) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, false
	}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(file) // #nosec G304 -- one of the two
		for line := range strings.Lines(string(data)) {
			// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) < 8 || fields[3] != listening || fields[1] != inProc(at) {
				continue
			}
			uid, err := strconv.Atoi(fields[7])
			return uid, err == nil
		}
	}
	return 0, false
}

// inProc is an address in the form of the kernel's table: words in this machine's byte
// order.
func inProc(at netip.AddrPort) string {
	var b strings.Builder
	for raw := at.Addr().AsSlice(); len(raw) > 0; raw = raw[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(raw))
	}
	return fmt.Sprintf("%s:%04X", b.String(), at.Port())
}
