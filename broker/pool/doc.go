// Package pool decides which account a caller means and which one is used. Its rules are
// functions of an index, a selection and a time. It reads no keystore, asks no provider and
// writes nothing: the caller writes the result, under the index's lock.
//
// # What always holds
//
//   - A pool named by a flag or the environment is a fence, and a directory's binding is a
//     fence for its own provider: the chosen account is inside, or there is an error.
//   - A pinned account is that account or nothing.
//   - The states of an account are derived from the index each time, and stored nowhere:
//     a hold ends by itself when its time comes.
//   - A hold that a provider stated is never shortened, and a success doesn't end it. A
//     guessed hold is doubled when it comes again, and a success ends it.
//   - A pool moves on by one account, and only from the one that can't be used.
//   - A mark (switch_at) orders the free accounts and never keeps one from being used. One
//     quota window of an account moves its pool once.
//   - Trouble that other accounts may share (ownTrouble) starts no second refresh.
//
// select.go: what a selection means. find.go: which account a name means; a number is none,
// because the numbers of a list change. choose.go: which account is used. mark.go: which one
// is preferred before a limit. rules.go: the settings that matter. holds.go, state.go,
// probe.go: what an account is good for. view.go: how people see it.
package pool
