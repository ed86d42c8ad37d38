package folder

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

// Memory is the cache of a program that keeps running: the index while its file is
// unchanged, and each account's newest token. A nil Memory keeps nothing. It is safe for
// concurrent use.
type Memory struct {
	mu     sync.Mutex
	file   fs.FileInfo // of the index; nil: there is none by which a change would show
	idx    *index.Index
	tokens map[string]keptToken // by account id
}

// keptToken is an account's access record, or the grant of an API key.
type keptToken struct {
	store  string // the index's store id, and the kind of keystore
	access *record.Access
	grant  *record.Grant
}

// settledAge is how old a file must be for its time to distinguish it from the next
// version: file systems' clocks are coarse, and inode numbers are reused.
const settledAge = 100 * time.Millisecond

// index is f.Read, cached while the file is unchanged. The result must not be modified.
func (m *Memory) index(f *index.File) (*index.Index, error) {
	if m == nil {
		return f.Read()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, err := f.Stat()
	if err == nil && m.file != nil && os.SameFile(now, m.file) && now.ModTime().Equal(m.file.ModTime()) && now.Size() == m.file.Size() {
		return m.idx, nil
	}
	m.file, m.idx = nil, nil
	idx, readErr := f.Read()
	if readErr != nil {
		return nil, readErr
	}
	if err == nil && time.Since(now.ModTime()) > settledAge {
		m.file, m.idx = now, idx
	}
	for id, t := range m.tokens {
		if a := idx.Account(id); a == nil || a.Removing || t.store != storeOf(idx) {
			delete(m.tokens, id)
		}
	}
	return idx, nil
}

func storeOf(idx *index.Index) string { return idx.Keystore + "/" + idx.Store }

// Access returns a's record if it is the one that idx names; else nil.
func (m *Memory) Access(idx *index.Index, a *index.Account) *record.Access {
	if t := m.token(idx, a); t.access != nil && t.access.Generation == a.Generation {
		return t.access
	}
	return nil
}

// Key is Access for an API key.
func (m *Memory) Key(idx *index.Index, a *index.Account) *record.Grant {
	if t := m.token(idx, a); t.grant != nil && t.grant.Generation == a.Generation {
		return t.grant
	}
	return nil
}

// Has reports whether a's token is cached, so that the keystore need not be opened.
func (m *Memory) Has(idx *index.Index, a *index.Account) bool {
	return m.Access(idx, a) != nil || m.Key(idx, a) != nil
}

func (m *Memory) token(idx *index.Index, a *index.Account) keptToken {
	if m == nil {
		return keptToken{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.tokens[a.ID]; t.store == storeOf(idx) {
		return t
	}
	return keptToken{}
}

// Keep caches what was read from the keystore: acc or g.
func (m *Memory) Keep(idx *index.Index, a *index.Account, acc *record.Access, g *record.Grant) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = map[string]keptToken{}
	}
	m.tokens[a.ID] = keptToken{storeOf(idx), acc, g}
}
