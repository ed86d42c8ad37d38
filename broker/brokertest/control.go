package brokertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// order is what a POST to /_control asks for; every member is optional, and
// they are carried out in this order. A GET answers the ledger.
type order struct {
	Clear  bool            `json:"clear"`  // forget pending faults
	Fault  json.RawMessage `json:"fault"`  // a name of Faults, or a Fault
	Times  int             `json:"times"`  // of a fault given by name
	User   string          `json:"user"`   // of a fault given by name
	On     Endpoint        `json:"on"`     // of a fault given by name
	After  bool            `json:"after"`  // of a fault given by name
	Revoke string          `json:"revoke"` // a user, whose logins end
	Issue  string          `json:"issue"`  // a user; the grant is the answer
	Key    string          `json:"key"`    // a user; {"api_key":…} is the answer

	Advance  string   `json:"advance"` // duration
	Latency  string   `json:"latency"` // duration
	TTL      string   `json:"ttl"`     // duration, of access tokens issued from now on
	Rotation Rotation `json:"rotation"`
	Consent  Consent  `json:"consent"`
	SignedIn string   `json:"signed_in"`
	Errors   Shape    `json:"errors"`

	Quota *struct {
		Quota
		Window string `json:"window"`
	} `json:"quota"`
	Device *struct {
		UserCode string `json:"user_code"`
		User     string `json:"user"` // empty: denied
	} `json:"device"`
}

// control serves /_control. It is not itself subject to faults.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	var out any = s.Ledger()
	if r.Method == http.MethodPost {
		var err error
		if out, err = obey(s, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func obey(s *Server, body io.Reader) (any, error) {
	var o order
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("this order cannot be read: %w", err)
	}
	if o.Clear {
		s.ClearFaults()
	}
	if o.Fault != nil {
		f, err := o.fault()
		if err != nil {
			return nil, err
		}
		s.Inject(f)
	}
	if o.Revoke != "" {
		s.Revoke(o.Revoke)
	}
	if o.Device != nil {
		if err := s.DecideDevice(o.Device.UserCode, o.Device.User); err != nil {
			return nil, err
		}
	}
	if err := o.reconfigure(s); err != nil {
		return nil, err
	}
	switch {
	case o.Issue != "":
		return s.Issue(o.Issue), nil
	case o.Key != "":
		return map[string]string{"api_key": s.IssueKey(o.Key)}, nil
	}
	return map[string]bool{"ok": true}, nil
}

func (o order) fault() (Fault, error) {
	var f Fault
	var name string
	if json.Unmarshal(o.Fault, &name) != nil {
		err := json.Unmarshal(o.Fault, &f)
		return f, err
	}
	f, ok := Faults()[name]
	if !ok {
		return f, fmt.Errorf("no fault is named %q, known are %v", name, FaultNames())
	}
	f.Times, f.User, f.After = o.Times, o.User, f.After || o.After
	if o.On != "" {
		f.On = o.On
	}
	return f, nil
}

func (o order) reconfigure(s *Server) error {
	var advance, latency, ttl, window time.Duration
	texts := map[*time.Duration]string{&advance: o.Advance, &latency: o.Latency, &ttl: o.TTL}
	if o.Quota != nil {
		texts[&window] = o.Quota.Window
	}
	for to, text := range texts {
		if text == "" {
			continue
		}
		var err error
		if *to, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	s.Advance(advance)
	return s.Configure(func(c *Config) {
		if o.Latency != "" {
			c.Latency = latency
		}
		if ttl > 0 {
			c.AccessTTL = ttl
		}
		if o.Quota != nil {
			c.Quota = o.Quota.Quota
			c.Quota.Window = window
		}
		replace(&c.Rotation, o.Rotation)
		replace(&c.Consent, o.Consent)
		replace(&c.SignedIn, o.SignedIn)
		replace(&c.Errors, o.Errors)
	})
}

func replace[T ~string](field *T, value T) {
	if value != "" {
		*field = value
	}
}
