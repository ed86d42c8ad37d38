package helper

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker"
)

const kubernetesGroup = "client.authentication.k8s.io/"

// Kubernetes is one request of a client of the Kubernetes API.
type Kubernetes struct {
	Version string // of the answer, such as client.authentication.k8s.io/v1
	Cluster bool   // the request names its cluster
	Origin  string // of the cluster's API server; empty: none that a token may be sent to
	User    string // in that server's URL; empty: none
}

// ParseKubernetes parses the variable KUBERNETES_EXEC_INFO. Empty means v1 without a
// cluster.
func ParseKubernetes(info string) (Kubernetes, error) {
	r := Kubernetes{Version: kubernetesGroup + "v1"}
	if info == "" {
		return r, nil
	}
	if len(info) > MaxInput {
		return r, errTooLong
	}
	var doc struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Cluster *struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"spec"`
	}
	switch {
	case json.Unmarshal([]byte(info), &doc) != nil || doc.Kind != "ExecCredential":
		return r, errors.New("KUBERNETES_EXEC_INFO is not an ExecCredential in JSON")
	case !slices.Contains([]string{kubernetesGroup + "v1", kubernetesGroup + "v1beta1"}, doc.APIVersion):
		return r, errors.New("KUBERNETES_EXEC_INFO asks for a version other than " + kubernetesGroup + "v1 or v1beta1")
	}
	r.Version = doc.APIVersion
	if c := doc.Spec.Cluster; c != nil {
		if err := clean(c.Server); err != nil {
			return r, err
		}
		r.Cluster, r.Origin, r.User = true, originOf(c.Server), userOf(c.Server)
	}
	return r, nil
}

// EncodeKubernetes writes t as an ExecCredential.
func EncodeKubernetes(r Kubernetes, t *broker.Token) ([]byte, error) {
	secret, err := token(t)
	if err != nil {
		return nil, err
	}
	var doc struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Status     struct {
			Token               string    `json:"token"`
			ExpirationTimestamp time.Time `json:"expirationTimestamp,omitzero"`
		} `json:"status"`
	}
	doc.APIVersion, doc.Kind, doc.Status.Token = r.Version, "ExecCredential", secret
	doc.Status.ExpirationTimestamp = t.ExpiresAt.UTC().Truncate(time.Second)
	return document(doc)
}
