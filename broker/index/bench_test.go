package index

import (
	"fmt"
	"os"
	"testing"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

var sizes = []int{1, 10, 100, 1000, 10_000}

func BenchmarkRead(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := At(b.TempDir())
			fill(b, f, n)
			info, err := os.Stat(f.path())
			must(b, err)
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				testenv.Must(b, testenv.Err(f.Read()))
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	for name, durability := range map[string]Durability{"durable": Durable, "fast": Fast} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				f := At(b.TempDir())
				fill(b, f, n)
				for b.Loop() {
					must(b, f.Update(b.Context(), durability, func(ix *Index) error {
						ix.Accounts[0].Generation++
						return nil
					}))
				}
			})
		}
	}
}

func BenchmarkAcquire(b *testing.B) {
	path := lock.Manifest.In(b.TempDir())
	for b.Loop() {
		lock, err := lock.Acquire(b.Context(), path)
		must(b, err)
		lock.Release()
	}
}
