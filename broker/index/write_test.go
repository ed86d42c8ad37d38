package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

func init() {
	// add FOLDER N: adds 1 to the first account's generation, N times.
	roles["add"] = func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for range n {
			if err := At(args[0]).Update(ctx, Fast, func(ix *Index) error {
				ix.Accounts[0].Generation++
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}
	// rewrite FOLDER: changes the index, big and small, for ever.
	roles["rewrite"] = func(args []string) error {
		for i := 0; ; i++ {
			if i == 1 {
				fmt.Println("wrote")
			}
			if err := At(args[0]).Update(context.Background(), Durability(i%2), func(ix *Index) error {
				ix.Accounts[0].Generation++
				ix.Accounts[0].Identity = strings.Repeat("x", rand.IntN(20_000))
				return nil
			}); err != nil {
				return err
			}
		}
	}
}

// No change of one process is lost to another.
func TestManyProcessesLoseNothing(t *testing.T) {
	const processes, each = 50, 10
	f := newFile(t)
	var running []*testenv.Process
	for range processes {
		running = append(running, testenv.Start(t, "add", f.Dir(), strconv.Itoa(each)))
	}
	for _, p := range running {
		p.Finish(t)
	}
	ix, err := f.Read()
	must(t, err)
	if got := ix.Accounts[0].Generation; got != 1+processes*each {
		t.Errorf("generation %d, want %d", got, 1+processes*each)
	}
}

func TestManyGoroutinesLoseNothing(t *testing.T) {
	const goroutines, each = 8, 20
	f := newFile(t)
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for range each {
				testenv.Check(t, f.Update(patience(t), Fast, func(ix *Index) error { ix.Accounts[0].Generation++; return nil }))
			}
		})
	}
	group.Wait()
	ix, err := f.Read()
	must(t, err)
	if got := ix.Accounts[0].Generation; got != 1+goroutines*each {
		t.Errorf("generation %d, want %d", got, 1+goroutines*each)
	}
}

// Wherever a writer is killed, index and backup are there and whole, also for
// those who read meanwhile.
func TestKilledWriter(t *testing.T) {
	rounds := proofs.Size(10, 60)
	f := newFile(t)
	must(t, f.Update(patience(t), Fast, func(ix *Index) error { ix.Accounts[0].Generation++; return nil }))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.Read(); err != nil {
				t.Errorf("while writing: %v", err)
				return
			}
			if _, err := f.LastGood(); err != nil {
				t.Errorf("the backup, while writing: %v", err)
				return
			}
			time.Sleep(10 * time.Millisecond) // on Windows one that reads all the time lets nobody write
		}
	})
	generation := 0
	for range rounds {
		writer := testenv.Start(t, "rewrite", f.Dir())
		writer.Line(t)
		time.Sleep(rand.N(8 * time.Millisecond))
		must(t, writer.Process.Kill())
		writer.Wait()

		ix, err := f.Read()
		must(t, err)
		last, err := f.LastGood()
		must(t, err)
		now, before := ix.Accounts[0].Generation, last.Accounts[0].Generation
		if now < generation || before > now || atomicRename && before < now-1 {
			t.Fatalf("generation %d with %d in the backup, after %d", now, before, generation)
		}
		generation = now
	}
	close(stop)
	readers.Wait()
	if generation < rounds {
		t.Errorf("generation %d after %d writers that each wrote", generation, rounds)
	}
	must(t, f.Update(patience(t), Durable, func(ix *Index) error { ix.Accounts[0].Generation++; return nil }))
}

// On Windows a file that somebody reads can not be replaced, and a file that is
// being replaced can not be read.
func TestFileInUse(t *testing.T) {
	busy := errors.New("in use")
	for failures := range 20 {
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			f := newFile(t)
			before, err := os.ReadFile(f.path())
			must(t, err)
			synctest.Test(t, func(t *testing.T) {
				left := failures
				rename = func(from, to string) error {
					if left--; left >= 0 && to == f.path() {
						return &os.LinkError{Op: "rename", Old: from, New: to, Err: busy}
					}
					if to != f.path() {
						left++
					}
					return os.Rename(from, to)
				}
				inUse = func(err error) bool { return errors.Is(err, busy) }
				defer func() { rename, inUse = os.Rename, atomicfile.InUse }()

				err := f.Update(t.Context(), Durable, func(ix *Index) error { ix.Accounts[0].Generation = 7; return nil })
				if want := failures < 10; (err == nil) != want {
					t.Errorf("Update = %v", err)
				}
			})
			after, err := os.ReadFile(f.path())
			must(t, err)
			if changed := string(after) != string(before); changed != (failures < 10) {
				t.Errorf("changed: %v", changed)
			}
			if left := tempFiles(t, f); left != nil {
				t.Errorf("left behind: %v", left)
			}
			testenv.Check(t, testenv.Err(f.LastGood()))
		})
	}
}

// Nor is a rename atomic there: a reader waits for a file that was there.
func TestFileBetweenRenames(t *testing.T) {
	defer func(was bool) { atomicRename = was }(atomicRename)
	atomicRename = false
	f := newFile(t)
	must(t, f.Update(patience(t), Fast, func(ix *Index) error { ix.Accounts[0].Generation++; return nil }))
	for _, path := range []string{f.path(), f.backupPath()} {
		synctest.Test(t, func(t *testing.T) {
			must(t, os.Rename(path, path+".away"))
			go func() {
				time.Sleep(50 * time.Millisecond)
				testenv.Check(t, os.Rename(path+".away", path))
			}()
			_, readErr := f.Read()
			_, backupErr := f.LastGood()
			if readErr != nil || backupErr != nil {
				t.Errorf("Read = %v, LastGood = %v", readErr, backupErr)
			}
			synctest.Wait()
		})
	}
	must(t, os.Remove(f.path()))
	synctest.Test(t, func(t *testing.T) {
		if _, err := f.Read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of a deleted index = %v", err)
		}
	})
}

// A backup that is in use stays as it is, and the change is made.
func TestBackupInUse(t *testing.T) {
	f := newFile(t)
	before, err := os.ReadFile(f.backupPath())
	must(t, err)
	busy := errors.New("in use")
	synctest.Test(t, func(t *testing.T) {
		rename = func(from, to string) error {
			if to == f.backupPath() {
				return busy
			}
			return os.Rename(from, to)
		}
		inUse = func(err error) bool { return errors.Is(err, busy) }
		defer func() { rename, inUse = os.Rename, atomicfile.InUse }()
		must(t, f.Update(t.Context(), Durable, func(ix *Index) error { ix.Accounts[0].Generation = 7; return nil }))
	})
	after, err := os.ReadFile(f.backupPath())
	must(t, err)
	if string(after) != string(before) {
		t.Error("the backup changed")
	}
	if left := tempFiles(t, f); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// Whoever deletes the locks lets two write at once. Neither change is lost.
func TestLocksDeletedInUpdate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a system where a file that is locked can be deleted")
	}
	for name, when := range map[string]func(first func()){
		"while the change is made": func(first func()) { first() },
		"while it is written": func(first func()) {
			rename = func(from, to string) error {
				rename = os.Rename
				first()
				return rename(from, to)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { rename = os.Rename }()
			f := At(t.TempDir())
			label := func(add string) func(*Index) error {
				return func(ix *Index) error {
					ix.Pools[add] = Pool{Provider: add}
					return nil
				}
			}
			must(t, f.Update(patience(t), Durable, func(ix *Index) error { ix.Pools = map[string]Pool{}; return label("one")(ix) }))
			struck := false
			must(t, f.Update(patience(t), Durable, func(ix *Index) error {
				if !struck {
					struck = true
					when(func() {
						must(t, os.Remove(lock.Index.In(f.Dir())))
						must(t, At(f.dir).Update(patience(t), Durable, label("two")))
					})
				}
				return label("three")(ix)
			}))
			ix, err := f.Read()
			must(t, err)
			if len(ix.Pools) != 3 {
				t.Errorf("%v", ix.Pools)
			}
		})
	}
	// One that lost its lock writes late, under the feet of the one that has it now.
	f := At(t.TempDir())
	must(t, f.Update(patience(t), Durable, func(ix *Index) error { ix.Pools = map[string]Pool{"one": {Provider: "one"}}; return nil }))
	struck := false
	must(t, f.Update(patience(t), Durable, func(ix *Index) error {
		if !struck {
			struck = true
			late := *ix
			late.Pools = map[string]Pool{"one": {Provider: "one"}, "two": {Provider: "two"}}
			data, err := encode(&late)
			must(t, err)
			must(t, f.write(Durable, nil, data, nil))
		}
		ix.Pools["three"] = Pool{Provider: "three"}
		return nil
	}))
	ix, err := f.Read()
	must(t, err)
	if len(ix.Pools) != 3 {
		t.Errorf("a late change is lost: %v", ix.Pools)
	}
}
