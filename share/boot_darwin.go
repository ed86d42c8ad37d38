package share

import (
	"sync"

	"golang.org/x/sys/unix"
)

var bootSession = sync.OnceValue(func() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
})
