// Package enginetest has what a shared pool's engine is tested with: one suite that every
// engine passes (Run), an engine in memory whose operator can lie (Memory), and a connection
// that has the faults a test gives it (Faulty).
package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/authferry/authferry/share/engine"
)

// Memory is an engine in memory. Machines that share it each use it, or each a Faulty around
// it. Its operator's methods (Rollback, Snapshot, Restore, SetCluster) do what no client can.
type Memory struct {
	mu      sync.Mutex
	cluster string
	state
	changed chan struct{} // closed and replaced at every change
}

// state is all that a snapshot has.
type state struct {
	revision int64
	keys     map[string][]engine.Entry // every version since the start; a deletion has a nil value
}

// NewMemory returns an empty engine.
func NewMemory() *Memory {
	return &Memory{cluster: "memory", state: state{revision: 1, keys: map[string][]engine.Entry{}}, changed: make(chan struct{})}
}

// Get reads linearizably.
func (m *Memory) Get(ctx context.Context, key string) (engine.Entry, engine.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := over(ctx); err != nil {
		return engine.Entry{}, engine.Identity{}, err
	}
	return m.entry(key), m.identity(), nil
}

// List reads all keys that begin with prefix.
func (m *Memory) List(ctx context.Context, prefix string) ([]engine.Entry, engine.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := over(ctx); err != nil {
		return nil, engine.Identity{}, err
	}
	var list []engine.Entry
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		if e := m.entry(key); e.Version != 0 && strings.HasPrefix(key, prefix) {
			list = append(list, e)
		}
	}
	return list, m.identity(), nil
}

// Swap sets key to value if its version still is expect.
func (m *Memory) Swap(ctx context.Context, key string, expect engine.Version, value []byte) (engine.Entry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := over(ctx); err != nil {
		return engine.Entry{}, false, err
	}
	if now := m.entry(key); now.Version != expect {
		return now, false, nil
	}
	if value != nil || expect != 0 {
		m.put(key, value)
	}
	return m.entry(key), true, nil
}

// Changed returns once a key that begins with prefix has changed after the revision.
func (m *Memory) Changed(ctx context.Context, prefix string, after int64) error {
	for {
		m.mu.Lock()
		wait, done := m.changed, false
		for key, versions := range m.keys {
			done = done || strings.HasPrefix(key, prefix) && int64(versions[len(versions)-1].Version) > after
		}
		m.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return over(ctx)
		}
	}
}

// Close does nothing: others use the engine still.
func (m *Memory) Close() error { return nil }

// Rollback puts the value back that key had before the newest one, as a write of the
// operator's. It panics where there was none.
func (m *Memory) Rollback(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	versions := m.keys[key]
	m.put(key, versions[len(versions)-2].Value)
}

// Delete deletes the key, as a write of the operator's.
func (m *Memory) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, nil)
}

// Put sets the key, as a write of the operator's.
func (m *Memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value)
}

// SetCluster changes what the engine says that it is.
func (m *Memory) SetCluster(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster = name
}

// Snapshot is a backup of an engine in memory.
type Snapshot struct{ state }

// Snapshot makes a backup.
func (m *Memory) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Snapshot{m.clone()}
}

// Restore makes the engine what it was at the backup; with keepRevision its keys alone, and
// the revision rises, as etcd has it with --bump-revision.
func (m *Memory) Restore(s Snapshot, keepRevision bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	revision := m.revision
	m.state = s.clone()
	if keepRevision {
		m.revision = revision + 1
	}
	m.wake()
}

func (s state) clone() state {
	keys := map[string][]engine.Entry{}
	for key, versions := range s.keys {
		keys[key] = slices.Clone(versions)
	}
	return state{revision: s.revision, keys: keys}
}

// over is the error of a call whose context has ended before anything was sent.
func over(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", engine.ErrUnreachable, ctx.Err())
}

// entry is a copy, so that no caller changes what is here.
func (m *Memory) entry(key string) engine.Entry {
	versions := m.keys[key]
	if len(versions) == 0 || versions[len(versions)-1].Value == nil {
		return engine.Entry{Key: key}
	}
	e := versions[len(versions)-1]
	e.Value = bytes.Clone(e.Value)
	return e
}

func (m *Memory) put(key string, value []byte) {
	m.revision++
	m.keys[key] = append(m.keys[key], engine.Entry{Key: key, Value: bytes.Clone(value), Version: engine.Version(m.revision)})
	m.wake()
}

func (m *Memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Memory) identity() engine.Identity {
	return engine.Identity{Cluster: m.cluster, Revision: m.revision}
}

// String lists the keys with their versions, for messages of tests.
func (m *Memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		fmt.Fprintf(&b, "%s %d\n", key, m.entry(key).Version)
	}
	return b.String()
}
