//go:build windows

package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// newCredentialWorld is a world whose secrets are in the Credential Manager of
// whoever runs the test, until it ends.
func newCredentialWorld(t *testing.T, cfg brokertest.Config) *world {
	t.Helper()
	const allowed = "AUTHFERRY_TEST_SYSTEM_KEYCHAIN"
	if os.Getenv(allowed) == "" {
		t.Skipf("needs %s=1: it writes to the Credential Manager of the person who runs it", allowed)
	}
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "authferry"), server: brokertest.New(t, cfg)}
	t.Cleanup(func() {
		w.waitForRotators()
		idx, err := index.At(w.dir).Read()
		if err != nil {
			t.Error(err)
			return
		}
		for _, a := range idx.Accounts {
			if _, err := account.Remove(context.Background(), w.broker().Folder, a.ID, account.RevokeNever); err != nil {
				t.Error(err)
			}
		}
		if n := credentials(t, idx.Store); n != 0 {
			t.Errorf("%d items are left in the Credential Manager", n)
		}
	})
	return w
}

func addExpired(w *world) *world {
	w.t.Helper()
	w.add("ada", -time.Second)
	return w
}

func storeID(w *world) string {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	if err != nil {
		w.t.Fatal(err)
	}
	return idx.Store
}

// credentials counts the items of a store, the parts of long ones included.
func credentials(t *testing.T, store string) int {
	t.Helper()
	advapi := windows.NewLazySystemDLL("advapi32.dll")
	filter, err := windows.UTF16PtrFromString(keystore.Service + ":" + store + "*")
	if err != nil {
		t.Fatal(err)
	}
	var count uint32
	var list unsafe.Pointer
	ok, _, err := advapi.NewProc("CredEnumerateW").Call(uintptr(unsafe.Pointer(filter)), 0, uintptr(unsafe.Pointer(&count)), uintptr(unsafe.Pointer(&list)))
	if ok == 0 {
		if !errors.Is(err, windows.ERROR_NOT_FOUND) {
			t.Fatal(err)
		}
		return 0
	}
	_, _, _ = advapi.NewProc("CredFree").Call(uintptr(list))
	return int(count)
}

// The main job on the Windows Credential Manager: any number of processes at
// expiry, one token request, no secret in a file.
func TestCredentialManager(t *testing.T) {
	for _, row := range []struct{ processes, rounds int }{{2, 1}, {16, 5}} {
		t.Run(fmt.Sprint(row.processes), func(t *testing.T) {
			if os.Getenv("TEST_ROUNDS") == "" {
				t.Setenv("TEST_ROUNDS", fmt.Sprint(row.rounds))
			}
			stampede(t, row.processes, func() *world { return addExpired(newCredentialWorld(t, slowAndStrict)) })
		})
	}
}

// The rotator dies at any point, and what it left there serves the next one.
func TestCredentialManagerKillPoints(t *testing.T) {
	killRotators(t, newCredentialWorld, brokertest.Strict, brokertest.GraceNew)
}

// The caller dies, or all of its job that the rotator could break away from.
func TestCredentialManagerKilledCallers(t *testing.T) {
	cfg := brokertest.Config{Rotation: brokertest.Strict, Latency: 20 * time.Millisecond}
	killCallers(addExpired(newCredentialWorld(t, cfg)), rounds(t, 10))
}

// The Credential Manager refuses a value over 2,560 bytes; longer tokens go in
// parts. (The complaint: a provider's tokens grow, and a login can't be stored
// any more.)
func TestCredentialManagerLongTokens(t *testing.T) {
	w := newCredentialWorld(t, brokertest.Config{Rotation: brokertest.Strict})
	a := w.add("ada", -time.Second)
	padding := strings.Repeat("x", 10_000)
	w.server.Inject(brokertest.Fault{Append: map[string]string{"access_token": padding, "refresh_token": padding}, Times: -1})
	const count = 3
	for range count {
		allowRejection(w, a.ID)
		got := w.askApart("TEST_REJECTED=" + lease(a.ID, w.account(a.ID).Generation))
		if got.err != nil {
			t.Fatalf("%s: %v", got.err.Code, got.err)
		}
		if len(got.token) <= len(padding) || !w.good(got.token) {
			t.Fatalf("the API refuses the token of %d bytes", len(got.token))
		}
	}
	noSecretInFiles(w)
	if l := w.server.Ledger(); l.TokenRequests != count || len(l.Reuse) != 0 {
		t.Errorf("%d token requests, %d reuses; want %d, 0", l.TokenRequests, len(l.Reuse), count)
	}
}

// All secrets move from the Credential Manager to files and back.
func TestCredentialManagerMigration(t *testing.T) {
	w := addExpired(newCredentialWorld(t, brokertest.Config{}))
	first, store := w.ask(), storeID(w)
	key := filepath.Join(t.TempDir(), "key.txt")
	if err := keystore.InitKeyFile(key); err != nil {
		t.Fatal(err)
	}
	for _, to := range []keystore.Kind{keystore.File, keystore.Keychain} {
		b := New(Options{Dir: w.dir, KeyFile: key, Warn: func(m string, _ ...fault.Remedy) { t.Error("warning: " + m) }})
		if _, err := folder.MigrateKeystore(t.Context(), b.Folder, to); err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
		if n := credentials(t, store); (n == 0) != (to == keystore.File) {
			t.Errorf("%d items in the Credential Manager after the move to %s", n, to)
		}
		if got := w.ask(); got.err != nil || got.token != first.token {
			t.Errorf("after the move to %s: %v", to, got.err)
		}
	}
}

// A job that ends takes the caller along. The rotator breaks away from a job
// that lets it; from one that does not it can't, and what it leaves is what any
// killed rotator leaves.
func TestJobs(t *testing.T) {
	for _, row := range []struct {
		name     string
		limits   uint32
		requests int
	}{
		{"lets processes break away", windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK, 1},
		{"lets all processes go", windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, 1},
		{"keeps its processes", 0, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, brokertest.Config{Rotation: brokertest.GraceNew})
			a := w.add("ada", -time.Second)
			answered := make(chan struct{})
			w.server.Inject(brokertest.Fault{Until: answered, After: true})
			// The caller starts nothing before it is in the job.
			gate, err := lock.Acquire(t.Context(), lock.Gate(a.ID).In(w.dir))
			if err != nil {
				t.Fatal(err)
			}
			cmd := w.command()
			job := startInJob(t, cmd, row.limits)
			gate.Release()
			w.await("a refresh", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
			if err := windows.TerminateJobObject(job, 1); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			close(answered)
			w.waitForRotators()
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Errorf("afterwards: %+v", got)
			}
			if l := w.server.Ledger(); l.TokenRequests != row.requests {
				t.Errorf("%d token requests, want %d", l.TokenRequests, row.requests)
			}
		})
	}
}

// startApart starts cmd in a job of its own; kill ends it, or the whole job.
func startApart(t *testing.T, cmd *exec.Cmd) (kill func(whole bool)) {
	t.Helper()
	job := startInJob(t, cmd, windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK)
	return func(whole bool) {
		if whole {
			_ = windows.TerminateJobObject(job, 1)
		} else {
			_ = cmd.Process.Kill()
		}
	}
}

// startInJob starts cmd in a new job with these limits (JOB_OBJECT_LIMIT_…).
func startInJob(t *testing.T, cmd *exec.Cmd, limits uint32) windows.Handle {
	t.Helper()
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = windows.CloseHandle(job) })
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: limits}}
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var assigned error
	if err := cmd.Process.WithHandle(func(process uintptr) { assigned = windows.AssignProcessToJobObject(job, windows.Handle(process)) }); err != nil || assigned != nil {
		t.Fatal(err, assigned)
	}
	return job
}
