//go:build !linux

package oauth

import (
	"net"
	"time"
)

// giveUpAfter: only Linux has such a limit.
func giveUpAfter(*net.TCPConn, time.Duration) {}
