// Package pool decides which account is meant and which one is used: rules over an
// index, a selection and a moment. It reads no keystore, asks no provider and writes
// nothing; who calls it writes what it says under the index's lock.
//
// # What always holds
//
//   - A pool that was named by a flag or the environment is a fence, and a directory's
//     binding is one for its own provider. Whatever else is said, what is chosen is in it,
//     or there is an error.
//   - A pinned account is that account or nothing.
//   - The states of an account are worked out of the index whenever they are asked for,
//     and stored nowhere: a hold that is over is over by itself.
//   - A hold that a provider stated is never read shorter than it is, nor ended by a
//     success. One that was guessed grows when it comes again, and a success ends it.
//   - A pool moves on by one account, and only from the one that can't be used.
//   - A mark (switch_at) decides among free accounts, never whether there is one. One quota
//     window of an account moves its pool once.
//   - What may trouble other accounts as well (OwnTrouble) starts no second refresh.
//
// select.go says what a selection means, choose.go who is used, rules.go what a folder's
// settings have to do with it, mark.go who is preferred before a limit, holds.go, state.go and probe.go what an account is good
// for, view.go how people see it.
package pool
