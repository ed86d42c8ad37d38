package main

// row is one number: an invariant, a point at which a process is killed, or a
// fault.
type row struct {
	number string
	done   string
	sees   string // by the caller, or by the next one
	sent   string // how often a refresh token is sent
	lost   string // logins
	tests  []string
}

const (
	torture   = "broker/torture "
	everyCall = torture + "TestKillAtEverySystemCall"
	onKeyring = torture + "TestKillAtEverySystemCallOnKeyring"
	onService = torture + "TestKillAtSystemCallsOnSecretService"
	underWine = "scripts TestWindowsUnderWine"
	random    = torture + "TestRandomSchedules"
	points    = "broker TestKillPoints"
	server    = "broker TestServerFaults"
	before    = "broker TestKeychainFaultsBeforeSpending"
	after     = "broker TestKeychainFailsAfterSpending"
)

// Some answers that many rows give.
const (
	token   = "a token"
	once    = "once"
	none    = "none"
	fromK8  = "one, at a server without grace"
	atMost2 = "once; a recovery"
)

// table is everything that is done, by number: I invariants, K kill points
// (package broker has them too), S the server, C the keychain, D the disk, T
// time, P processes.
var table = []row{
	{"I1", "a refresh token is sent once, but for a recorded recovery", token, once, none, []string{"broker TestStampede", "broker TestRealKeyring", random}},
	{"I2", "one refresh of an account at a time", token, once, none, []string{"broker TestKilledCallers", random}},
	{"I3", "a generation never goes back", token, once, none, []string{"broker TestIndexFromBackup", "broker TestGenerationAboveIntents", random}},
	{"I4", "login_needed only when the provider refused the stored token", "login_needed, or a token", once, none, []string{points, server, random}},
	{"I5", "after one fault the next call works, or names the cause", "a token, or the cause", atMost2, none, []string{everyCall, random}},
	{"I6", "a living token is served in spite of locks, refreshes, 429 and outages", token, "0 or once", none, []string{"broker TestValidTokenIsNeverWithheld", random}},
	{"I7", "no token in index, logs, arguments, environment or files", "-", once, none, []string{"cmd/authferry TestNoLeaks", "cmd/authferry TestNoLeaksInSystemCalls", "cmd/authferry TestNoLeaksOnATerminal", "cmd/authferry TestNoLeaksWhileRotating", everyCall}},
	{"I8", "the index parses and is its owner's alone, at any instant", token, once, none, []string{"broker/index TestKilledWriter", everyCall}},
	{"I9", "no lock and no process is left", token, once, none, []string{everyCall, random}},
	{"I10", "other accounts do not notice", token, once, none, []string{random}},
	{"I11", "settings, providers, bindings and labels that processes change at once are all kept", "-", "-", none, []string{"broker TestSettingsOfManyAtOnce", "broker/index TestLocksDeletedInUpdate", random}},

	{"K1", "killed waiting for a lock", token, once, none, []string{"broker TestKilledCallers", "broker/lock TestKilledHolderHoldsNothing", underWine + "/broker"}},
	{"K2", "killed with the rotation lock", token, once, none, []string{points + "/K2", underWine + "/broker"}},
	{"K3", "killed after reading the records", token, once, none, []string{points + "/K3", underWine + "/broker"}},
	{"K4", "killed during or after preflight", token, once, none, []string{points + "/K4", underWine + "/broker"}},
	{"K5", "killed connected, without an intent", token, once, none, []string{points + "/K5", underWine + "/broker"}},
	{"K6", "killed within an index write, at each of its calls", token, once, none, []string{everyCall + "/rotate", "broker/index TestKilledWriter"}},
	{"K7", "killed after the intent", token, once, none, []string{points + "/K7", underWine + "/broker"}},
	{"K8", "killed within the request's body", token, once, none, []string{everyCall + "/rotate_a_long_token"}},
	{"K9", "killed after the request, before the answer", "a token, or login_needed", "twice", fromK8, []string{torture + "TestKilledWhileTheServerAnswers/strict_K9", torture + "TestKilledWhileTheServerAnswers/grace-new_K9"}},
	{"K10", "killed within the answer's body", "a token, or login_needed", "twice", fromK8, []string{torture + "TestKilledWhileTheServerAnswers/strict_K10", torture + "TestKilledWhileTheServerAnswers/grace-new_K10"}},
	{"K11", "killed with the answer, before the write", "a token, or login_needed", "twice", fromK8, []string{points + "/K11", underWine + "/broker"}},
	{"K12", "killed while the grant is being written", "a token, or login_needed", "once or twice", fromK8, []string{"broker TestLateWrite", "keystore TestFileSurvivesKilledWriters", "keystore TestGnomeKeyringSurvivesKilledWriters", onKeyring, onService}},
	{"K13", "killed between two parts of a long grant", "a token, or login_needed", "twice", fromK8, []string{"keystore TestDeathBetweenSteps", onKeyring, onService}},
	{"K14", "killed after the grant is stored", token, "once each", none, []string{points + "/K14", underWine + "/broker"}},
	{"K15", "killed around the commit", token, once, none, []string{points + "/K15", underWine + "/broker"}},
	{"K16", "killed after the commit", token, once, none, []string{points + "/K16", underWine + "/broker"}},
	{"K17", "killed while printing", "the next one: a token", once, none, []string{everyCall + "/rotate"}},
	{"K18", "killed in login or import, at each call", "the same command works", "-", none, []string{
		everyCall + "/import_grant", everyCall + "/login_with_an_API_key", everyCall + "/login_in_a_browser", everyCall + "/login_with_a_device_code",
		everyCall + "/import_opencode", everyCall + "/import_claude-code", everyCall + "/import_codex", everyCall + "/import_gemini", everyCall + "/import_multi-auth", everyCall + "/import_antigravity", everyCall + "/import_opencode-mcp",
		onKeyring + "/import_opencode", onService + "/import_opencode", "cmd/authferry TestMoveSurvivesBeingKilled",
	}},
	{"K19", "killed in remove, at each call", "remove again works", "-", none, []string{everyCall + "/remove", "broker TestDoctorFinishesRemoval", onKeyring + "/remove", onService + "/remove"}},
	{"K20", "killed in rename or migrate, at each call", token, once, none, []string{everyCall + "/rename", onKeyring, onService + "/keystore_migrate"}},
	{"K21", "killed in login, code exchanged; one that renews at each call", token, once, none, []string{everyCall + "/login_again", "broker TestLoginKilled", onKeyring + "/login_again", onService + "/login_again"}},

	{"S1", "a server that does not rotate", token, once, none, []string{points + "/fixed", "broker/oauth TestS1ToS7Rotations"}},
	{"S2", "rotates; reuse is invalid_grant", "login_needed on reuse", once, none, []string{server + "/S2", points + "/rotate"}},
	{"S3", "rotates; reuse ends the login", token, once, none, []string{"broker TestStampede", points + "/strict"}},
	{"S4", "grace, the same pair again", token, atMost2, none, []string{points + "/grace-same"}},
	{"S5", "grace, a new pair", token, atMost2, none, []string{points + "/grace-new"}},
	{"S6", "grace for the previous token only", token, atMost2, none, []string{"broker/oauth TestS1ToS7Rotations", "broker/brokertest TestGracePreviousKillsOlder"}},
	{"S7", "a refresh ends the old access token", token, once, none, []string{"broker TestOddTokens/kills-access"}},
	{"S8", "no refresh token, or a blank one, in the answer", token, once, none, []string{"broker TestOddTokens/omit-refresh", "broker TestOddTokens/blank-refresh", "broker/oauth TestS8NoRefreshToken"}},
	{"S9", "the same refresh token again", token, once, none, []string{"broker/oauth TestS9SameRefreshToken"}},
	{"S10", "429 with every kind of Retry-After", "provider_refused, retry_at", once, none, []string{server + "/S10", "broker TestFailingEndpointUnderLoad"}},
	{"S11", "5xx before and after rotating", "a token, or provider_unreachable", atMost2, fromK8, []string{server + "/S11", "broker/oauth TestS11ServerErrors"}},
	{"S12", "resets at accept, in headers, in the body, after rotating", "a token, or the cause", atMost2, fromK8, []string{server + "/S12", "broker TestResetAtAccept", "broker/oauth TestS12Resets"}},
	{"S13", "stalls, and a byte a second", "provider_unreachable; then a token", once, none, []string{"broker TestImpatientCaller", "broker/oauth TestS13Stalls"}},
	{"S14", "redirects, to itself and elsewhere", token, atMost2, none, []string{server + "/S14", "broker/oauth TestS14Redirects"}},
	{"S15", "HTML, empty, cut, 10 MB, gzip, form, BOM, duplicate keys", token, atMost2, none, []string{server + "/S15", "broker/oauth TestS15OddBodies", "broker/oauth TestS15RecoversARefreshToken"}},
	{"S16", "every kind of expires_in", token, once, none, []string{server + "/S16", "broker/oauth TestS16Lifetimes"}},
	{"S17", "errors as object, nested, text, 401, 200", "login_needed, or provider_refused", once, "those the provider ended", []string{server + "/S17", "broker/oauth TestS17Errors"}},
	{"S18", "invalid_client and its kin", "provider_refused", once, none, []string{server + "/S18", "broker/oauth TestS18Client"}},
	{"S19", "the scope is reduced", token, once, none, []string{server + "/S19", "broker/oauth TestS19Scope"}},
	{"S20", "the subject changes", token, once, none, []string{server + "/S20", "broker/oauth TestS20Subject"}},
	{"S21", "long and odd tokens", "a token, or provider_refused", once, none, []string{server + "/S21", "broker TestOddTokens", "broker/oauth TestS21OddTokens"}},
	{"S22", "revoked at the provider, alive here", "login_needed once it is noticed", once, "those the provider ended", []string{"broker/oauth TestS22RevokedMeanwhile", "broker TestFailoverFromDeadLogin"}},
	{"S23", "a Date that is hours off", token, once, none, []string{server + "/S23", "broker/oauth TestS23WrongDate"}},
	{"S24", "TLS: expired, wrong host, stall", "provider_unreachable", "0", none, []string{"broker/oauth TestS24TLS"}},
	{"S25", "an idle connection is closed", token, once, none, []string{server + "/S25", "broker/oauth TestS25ConnectionIsNew"}},
	{"S26", "any latency, longer than the caller waits", "provider_unreachable; then a token", once, none, []string{"broker/oauth TestS26Latency", "broker TestImpatientCaller"}},
	{"S27", "a gateway's 502, 503, 504 or page, before the request was carried out or after", "a token, or provider_unreachable", atMost2, "one after it, at a server without grace", []string{random}},
	{"S28", "good answers in the dialects of real servers", token, once, none, []string{"broker/oauth TestSearch", random}},

	{"C1", "locked from the start", "keystore_locked", "0", none, []string{before + "/C1", "keystore TestFaults/C1:", "keystore TestGnomeKeyringFaults"}},
	{"C2", "locks between preflight and write", "keystore_locked; then a token", once, none, []string{after + "/C2", "keystore TestLocksInBetween"}},
	{"C3", "a prompt that nobody answers", "keystore_timeout", "0", none, []string{before + "/C3"}},
	{"C4", "a prompt that is dismissed", "keystore_locked, keystore_denied", "0", none, []string{before + "/C4", "keystore TestWriteThatIsLost"}},
	{"C5", "no bus, a dead one, a mute one, no owner", "keystore_unavailable, keystore_timeout", "0", none, []string{before + "/C5", "broker TestNoBus", "keystore TestNoBus"}},
	{"C6", "the daemon or the bus stops or dies in a call", "keystore_timeout; then a token", once, none, []string{before + "/C6", after + "/C6", "broker TestKilledDaemon", "keystore TestFaults/C6:"}},
	{"C7", "stores nothing, half, or nothing but a name", "keystore_denied; then a token", "0, or once", none, []string{before + "/C7", after + "/C7"}},
	{"C8", "answers the old value after a write", "keystore_denied", "0", none, []string{"keystore TestFaults/C8:"}},
	{"C9", "a write comes after its process is dead", token, atMost2, none, []string{"broker TestLateWrite", "keystore TestLateWrite"}},
	{"C10", "several items of one name", token, once, none, []string{"keystore TestDuplicates"}},
	{"C11", "a person deletes or edits an item", "a token, or login_needed", once, "those whose grant was deleted", []string{"broker TestDeletedItems", "keystore TestEditedItems", "keystore TestItemThatVanishes"}},
	{"C12", "the disk is full", "a keystore error; then a token", "0, or once", none, []string{before + "/C12", after + "/C12"}},
	{"C13", "two daemons on one file", token, once, none, []string{torture + "TestTwoDaemons"}},
	{"C14", "a collection with 2,000 items (150 without -full)", token, once, none, []string{torture + "TestFullKeyring"}},
	{"C15", "the size limits of every system", token, once, none, []string{"keystore TestForeignLimits", underWine + "/keystore"}},
	{"C16", "a session as the first call would abort the daemon", token, once, none, []string{"keystore TestReadsBeforeItWrites"}},
	{"C17", "the daemon is restarted, and locked", "a keystore error; then a token", once, none, []string{"broker TestKilledDaemon", "keystore TestGnomeKeyringFaults"}},
	{"C18", "64 clients at once", token, once, none, []string{"keystore TestGnomeKeyringTakesManyClients", "broker TestRealKeyring"}},

	{"D1", "the disk is full", "a living token, or the cause", "0", none, []string{"broker/index TestDiskThatTakesNoWrites", "cmd/authferry TestScripts/disk"}},
	{"D2", "a read-only folder", "a living token, or the cause", "0", none, []string{"broker TestIndexThatCantBeChanged", "keystore TestReadOnlyVault", "broker/index TestDiskThatTakesNoWrites"}},
	{"D3", "EIO from any call", "the cause", "0", none, []string{"broker/index TestUpdateWithAFailingCall"}},
	{"D4", "an index that is cut, empty, garbage or of the future", "index_corrupt, index_too_new", "0", none, []string{"broker/index TestUnusableFileIsRefusedAndKept", "broker/index TestRefusedContent", "broker/index TestByteOrderMarkIsNoDamage", "cmd/authferry TestScripts/index"}},
	{"D5", "an index that is deleted or from a backup", "a token", once, none, []string{"broker TestIndexFromBackup", "broker TestDeletedIndex", "broker TestDoctorRestores"}},
	{"D6", "a keystore that is older than the index", "a token, or login_needed", "twice", fromK8, []string{torture + "TestKeystoreFromBackup"}},
	{"D7", "a lock file that is deleted, a folder or a link", "a token, or the cause", once, none, []string{"broker/lock TestLockFileThatWentAway", "broker/lock TestLockPathThatIsNoFile"}},
	{"D8", "an index that is a link", "the cause", "0", none, []string{"broker/index TestIndexThatIsNoFile"}},
	{"D9", "a file system that can't lock", "the cause", "0", none, []string{"broker/index TestFileSystemThatCanNotLock"}},
	{"D10", "a rename that is refused for a while", token, once, none, []string{"broker/index TestFileInUse", "atomicfile TestPatiently", underWine + "/broker"}},
	{"D11", "no HOME, two folders, no umask", "a token, or the cause", once, none, []string{torture + "TestNoHome", "broker/index TestTwoFoldersShareNoStore", "broker/index TestNoUmask"}},
	{"D12", "hundreds of stray files", token, once, none, []string{"broker/index TestStrayTempFilesAreSwept", "keystore TestStrayFiles"}},
	{"D13", "the folder is moved away and back, or used at another path meanwhile", "a token, or the cause", once, none, []string{"broker TestFolderGoneInTheWindow", "broker TestFolderGoneInLogin", random}},
	{"D14", "the folder is put back from a copy while refreshing", "a token, or login_needed", atMost2, fromK8, []string{random}},
	{"D15", "locks/ is emptied or removed while refreshing", token, once, none, []string{"broker TestLocksDeletedInTheWindow", "broker/index TestLocksDeletedInUpdate", random}},

	{"T1", "the clock is set back or forward", token, once, none, []string{"broker/record TestJudgeByBootClock"}},
	{"T2", "obtained in the future", "refreshed before it is trusted", once, none, []string{"broker/record TestJudge/T2"}},
	{"T3", "the machine slept", token, once, none, []string{"broker/record TestJudgeByBootClock", "broker TestAgeAndSignalsAfterTheAnswer"}},
	{"T4", "rebooted, with a request of unknown outcome", token, atMost2, none, []string{"broker/record TestJudgeByBootClock", "broker TestUnknownOutcomesAreRemembered"}},
	{"T5", "expiry exactly at the margin", "refreshed", once, none, []string{"broker/record TestJudge/T5"}},
	{"T6", "lifetimes shorter than the margins", token, once, none, []string{"broker/record TestJudge/T6", "broker/record TestSoftMargin"}},
	{"T7", "limits that end in the past or in ten years", token, "0", none, []string{"broker TestHoldsAreBounded", "broker TestBackOffFromTheFuture", "broker/ratelimit TestRetryAfter"}},

	{"P1", "2, 16, 64 processes at the moment of expiry", token, once, none, []string{"broker TestStampede", "broker TestRealKeyring", underWine + "/broker"}},
	{"P2", "some twenty kinds of command at once while refreshing", token, once, none, []string{random}},
	{"P3", "whoever holds a lock is stopped", "a living token, or who has the lock", once, none, []string{torture + "TestStoppedRotator", "broker TestStoppedGateHolder"}},
	{"P4", "a child of a command lives on", token, once, none, []string{torture + "TestChildrenHoldNoLocks"}},
	{"P5", "a storm over 100 accounts", token, once, none, []string{torture + "TestForkStorm"}},
	{"P6", "a caller that is killed after a moment, again and again", token, once, none, []string{"broker TestKilledCallers", "broker TestSignalledRotator", underWine + "/broker"}},
	{"P7", "stdout closed or full", "exit 1", once, none, []string{"cmd/authferry TestScripts/stdout"}},
	{"P8", "16 file descriptors, and fewer", "a token, or the cause", once, none, []string{torture + "TestFewDescriptors"}},
	{"P9", "an old and a new version side by side", token, "0", none, []string{"broker/index TestEveryTypeOfTheSchemaKeepsUnknownFields", "broker/index TestRoundTripKeepsEverything", "cmd/authferry TestScripts/index"}},
	{"P10", "one login imported twice", "label_taken", once, none, []string{"broker TestSpentGrantIsNotImported"}},
	{"P11", "frozen for longer than it would wait for the provider", token, once, none, []string{"broker TestFrozenRotator", random}},
}
