package fault

// Remedy is one thing that a person can do next: an action, and the facts that its
// command needs. It has no secret. Remedies can be compared, and encoded as JSON for
// another process.
//
// Facts in capitals (PROVIDER, PATH, ID …) are placeholders for what only the person knows.
type Remedy struct {
	Do       Action `json:"do"`
	Provider string `json:"provider,omitempty"`
	Account  string `json:"account,omitempty"` // a label, PROVIDER/LABEL or an id
	Label    string `json:"label,omitempty"`   // of a new account
	Pool     string `json:"pool,omitempty"`
	Path     string `json:"path,omitempty"`
	Name     string `json:"name,omitempty"`  // of a variable, a setting, a flag, a user, a program
	Value    string `json:"value,omitempty"` // of what Name names; or a duration, a keystore's kind
	How      How    `json:"how,omitempty"`
}

// How is one of the ways in which an action can be done.
type How string

// The ways.
const (
	Browser How = "browser" // the flow of a login
	Paste   How = "paste"
	Device  How = "device"
	APIKey  How = "api-key" // a login with a key or token that the person has
	Token   How = "token"
	Client  How = "client-secret" // of a client on its own account
	Keeping How = "keep"          // an import that leaves the other program's file as it is
)

// Action is what a Remedy does.
type Action string

// The actions, with the facts that each one needs; those in brackets are optional.
const (
	// Again is the given command with its flags and arguments. The facts of the Remedy
	// replace those of the same kind or are added: Provider, Account, Label, Pool, How,
	// and any flag by Name and Value (a switch has no Value). If no command was given, it
	// is Status.
	Again Action = "again"
	// Instead is Again with Account or Pool in place of the account or pool that it named.
	Instead Action = "instead"
	// Wait is Again, but waits until an account is free, if the command can.
	Wait Action = "wait"
	// WithVariable is Again with the environment variable Name set to Value.
	WithVariable Action = "with-variable"
	// WithoutVariable is Again without the environment variable Name.
	WithoutVariable Action = "without-variable"

	// Login takes Provider [Account: to be renewed] [Label] [Pool] [How] [Value: a client
	// id]; or, for a remote MCP server, Name: "register", or Name: "scope" and Value: scopes
	// with a space between. Without a Provider the person is asked.
	Login Action = "login"

	ListAccounts Action = "list-accounts"
	ShowAccount  Action = "show-account" // Account
	Status       Action = "status"
	ShowHolds    Action = "show-holds"
	ClearHolds   Action = "clear-holds"    // Account
	Enable       Action = "enable-account" // Account
	Remove       Action = "remove-account" // Account
	RemoveHere   Action = "remove-here"    // Account; not revoked at the provider
	Rename       Action = "rename-account" // Account [Label: the new one]
	Move         Action = "move-account"   // Account Pool
	Refresh      Action = "refresh"        // Account
	RefreshNow   Action = "refresh-now"    // Account; even if the provider asked to wait
	Unbind       Action = "unbind"         // Path: a directory
	LeaveFolder  Action = "leave-folder"

	ListProviders Action = "list-providers"
	ShowProvider  Action = "show-provider"       // Provider
	AddProvider   Action = "add-provider"        // Provider [Name: the flag with its address] [Value: the address]
	AmendProvider Action = "amend-provider"      // Provider Name: the missing flag [Value: a possible value]
	StoreSecret   Action = "store-client-secret" // Provider

	Doctor     Action = "doctor"
	Fix        Action = "fix"
	FixWithKey Action = "fix-with-key" // [Path: the key file]

	ShowKeystore    Action = "show-keystore"
	UnlockKeychain  Action = "unlock-keychain"
	UnlockKeyFile   Action = "unlock-key-file"
	InitKeystore    Action = "init-keystore" // [Path: the key file]
	SealKeystore    Action = "seal-keystore" // [Path: the key file]
	SealKeyFile     Action = "seal-key-file" // Path
	MigrateKeystore Action = "migrate-keystore"
	SessionFolder   Action = "session-folder"

	SetVariable Action = "set-variable" // Name Value
	SetSetting  Action = "set-setting"  // Name [Value]
	EditFile    Action = "edit-file"    // Path
	DeleteFile  Action = "delete-file"  // Path
	ProtectFile Action = "protect-file" // Path
	LookAtFile  Action = "look-at-file" // Path
	GiveBack    Action = "give-back"    // Path Name: the owner, as chown takes it

	Import      Action = "import"       // Name: the program [Path] [How] [Value: a client id]
	ImportGrant Action = "import-grant" // [Provider] [Label] [Value: a client id]
	AsOwner     Action = "as-owner"     // Path: the folder, Name: its user

	InstallShare Action = "install-share" // [Value: the version]
	ShareStart   Action = "share-start"   // Pool
	ShareInvite  Action = "share-invite"  // Pool
	ShareJoin    Action = "share-join"    //
	ShareLeave   Action = "share-leave"   // Pool
	ShareMembers Action = "share-members" // Pool
	ShareRemove  Action = "share-remove"  // Pool Name: a machine
	ShareRecover Action = "share-recover" // Account
	ShareStatus  Action = "share-status"  // [Pool]
	ShareDoctor  Action = "share-doctor"  // [Pool]
	ShareFix     Action = "share-fix"     // [Pool]
	ShareServe   Action = "share-serve"   // on a machine that holds the logins
	ShareRights  Action = "share-rights"  // of a machine's certificate in the engine

	ShowVersion Action = "show-version"
	ShowDaemons Action = "show-daemons"
	TrustCA     Action = "trust-ca"
)
