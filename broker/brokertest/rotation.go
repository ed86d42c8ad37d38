package brokertest

// Rotation is what the server does with refresh tokens.
type Rotation string

// The rotations that are known from real servers.
const (
	Fixed         Rotation = "fixed"          // one refresh token for ever
	Rotate        Rotation = "rotate"         // a new one each time; reuse is invalid_grant
	Strict        Rotation = "strict"         // reuse revokes the whole family, access tokens included
	GraceSame     Rotation = "grace-same"     // within the grace, reuse yields the same pair again; later as Strict
	GraceNew      Rotation = "grace-new"      // within the grace, reuse yields another pair; later as Strict
	GracePrevious Rotation = "grace-previous" // as GraceNew for the previous one only; an older one as Strict (Auth0)
	KillsAccess   Rotation = "kills-access"   // as Rotate, and a refresh ends the older access tokens (GitHub)
	KeepsOld      Rotation = "keeps-old"      // a new one each time, the old ones stay good (Entra)
	OmitRefresh   Rotation = "omit-refresh"   // as Fixed, and the answers name no refresh token
	BlankRefresh  Rotation = "blank-refresh"  // as Fixed, and the answers name an empty one
	SameRefresh   Rotation = Fixed            // the answers name the same refresh token again
)

// Rotations lists every rotation once.
func Rotations() []Rotation {
	return []Rotation{
		Fixed, Rotate, Strict, GraceSame, GraceNew, GracePrevious,
		KillsAccess, KeepsOld, OmitRefresh, BlankRefresh,
	}
}

type rule struct {
	rotates     bool // a refresh yields a new refresh token …
	spends      bool // … and the old one is used up
	killsFamily bool // reuse, without or after the grace, revokes the login
	killsAccess bool
	grace       grace
	names       naming
}

type grace int

const (
	noGrace grace = iota
	graceSame
	graceNew
	gracePrevious
)

type naming int

const (
	namesRefresh naming = iota
	omitsRefresh
	blanksRefresh
)

var rules = map[Rotation]rule{
	Fixed:         {},
	Rotate:        {rotates: true, spends: true},
	Strict:        {rotates: true, spends: true, killsFamily: true},
	GraceSame:     {rotates: true, spends: true, killsFamily: true, grace: graceSame},
	GraceNew:      {rotates: true, spends: true, killsFamily: true, grace: graceNew},
	GracePrevious: {rotates: true, spends: true, killsFamily: true, grace: gracePrevious},
	KillsAccess:   {rotates: true, spends: true, killsAccess: true},
	KeepsOld:      {rotates: true},
	OmitRefresh:   {names: omitsRefresh},
	BlankRefresh:  {names: blanksRefresh},
}
