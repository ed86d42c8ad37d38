package rotation

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// reserve is what a rotator sets aside before it sends a refresh token, so that it can
// keep what comes although the system gives it nothing more by then. A nil reserve, of
// one that has no process of its own, does nothing.
type reserve struct {
	files   spares
	stocked bool
}

// stockUp takes the memory and the threads that are needed: where the system refuses
// them (ulimit -v, -d or -u), Go ends the process. What is taken is free again at once,
// and stays this process's own; the garbage collector, which would need more, rests from
// then on. Nearly all of it is never touched, so that no other process has less.
func (r *reserve) stockUp() {
	if r == nil || r.stocked {
		return
	}
	r.stocked = true
	runtime.GOMAXPROCS(1) // each would have a stock of its own
	debug.SetGCPercent(-1)
	const blocks, block = 256, 64 << 10
	for range blocks {
		runtime.KeepAlive(make([]byte, block))
	}
	for range 3 { // what a collection itself needs comes free with the next but one
		useSizes()
		runtime.GC()
	}
	makeThreads()
	beginChunk()
}

// useSizes has the runtime get what it keeps its books with for each size of object.
func useSizes() {
	var held []any
	for size := 8; size <= 32<<10; size += max(8, size/16) {
		for range 8<<10/size + 1 {
			held = append(held, make([]byte, size), make([]*byte, size/8))
		}
	}
	runtime.KeepAlive(held)
}

// beginChunk has the runtime begin a new one of the chunks of 256 kB in which it has
// what it never gives back: by records of what is to be closed, until there is one.
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

// makeThreads has the runtime start more threads than ever block at once. They stay.
func makeThreads() {
	const threads = 12
	var ready, done sync.WaitGroup
	leave := make(chan struct{})
	for range threads {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread() // so that each has one of its own
			defer runtime.UnlockOSThread()
			ready.Done()
			<-leave
		})
	}
	ready.Wait()
	close(leave)
	done.Wait()
}
