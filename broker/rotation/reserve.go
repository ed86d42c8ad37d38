package rotation

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// reserve is what a rotator sets aside before it sends a refresh token, so that it can
// store the answer even if the system refuses it anything more by then. A nil reserve, of a
// rotation without a process of its own, does nothing.
type reserve struct {
	files   spares
	stocked bool
}

// stockUp allocates the memory and threads that will be needed. Where the system refuses
// them (ulimit -v, -d or -u), Go ends the process, and here nothing is sent yet. The memory
// is freed again at once but stays with this process. The garbage collector, which would
// need more, is off from then on. Nearly all of it is never touched, so other processes
// don't have less.
func (r *reserve) stockUp() {
	if r == nil || r.stocked {
		return
	}
	r.stocked = true
	runtime.GOMAXPROCS(1) // each would have its own cache
	debug.SetGCPercent(-1)
	const blocks, block = 256, 64 << 10
	for range blocks {
		runtime.KeepAlive(make([]byte, block))
	}
	for range 3 { // what a collection needs itself is freed with the next but one
		useSizes()
		runtime.GC()
	}
	makeThreads()
	beginChunk()
}

// useSizes makes the runtime allocate its records for each size of object.
func useSizes() {
	var held []any
	for size := 8; size <= 32<<10; size += max(8, size/16) {
		for range 8<<10/size + 1 {
			held = append(held, make([]byte, size), make([]*byte, size/8))
		}
	}
	runtime.KeepAlive(held)
}

// beginChunk makes the runtime start a new 256 kB chunk of the memory that it never gives
// back, by registering finalizers until there is one.
func beginChunk() {
	chunks := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.OtherSys
	}
	const records, atMost = 256, 40
	was := chunks()
	for range atMost {
		for range records {
			runtime.SetFinalizer(new([16]byte), func(*[16]byte) {})
		}
		now := chunks()
		if now > was+128<<10 {
			return
		}
		was = now
	}
}

// makeThreads makes the runtime start more threads than ever block at once. They stay.
func makeThreads() {
	const threads = 12
	var ready, done sync.WaitGroup
	leave := make(chan struct{})
	for range threads {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread() // each with a thread of its own
			defer runtime.UnlockOSThread()
			ready.Done()
			<-leave
		})
	}
	ready.Wait()
	close(leave)
	done.Wait()
}
