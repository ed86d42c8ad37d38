package oauth

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter has the system close the connection if the peer doesn't acknowledge what was
// sent for so long.
func giveUpAfter(conn *net.TCPConn, d time.Duration) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
	}
}
