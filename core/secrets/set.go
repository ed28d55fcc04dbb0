package secrets

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/bundle"
)

// Set is the secrets of one deployment, each decrypted when it is asked for. A nil Set
// has none.
type Set struct{ opened *bundle.OpenedSecrets }

// find is the secret that an id means: a name, an ARN, or an ARN without its suffix.
func (s *Set) find(id string) (bundle.Secret, bool) {
	if s == nil {
		return bundle.Secret{}, false
	}
	i := slices.IndexFunc(s.opened.Secrets, func(secret bundle.Secret) bool {
		return id == secret.ARN || id == secret.Name || strings.HasPrefix(secret.ARN, id+"-") && strings.HasSuffix(id, ":secret:"+secret.Name)
	})
	if i < 0 {
		return bundle.Secret{}, false
	}
	return s.opened.Secrets[i], true
}

// version is the version of a secret that has a label.
func version(secret bundle.Secret, label string) (bundle.SecretVersion, bool) {
	i := slices.IndexFunc(secret.Versions, func(v bundle.SecretVersion) bool { return slices.Contains(v.Stages, label) })
	if i < 0 {
		return bundle.SecretVersion{}, false
	}
	return secret.Versions[i], true
}

// check tries to decrypt the version of a secret that has a label.
func (s *Set) check(arn, label string) error {
	secret, ok := s.find(arn)
	if !ok {
		return fmt.Errorf("the secret %s is not among them", arn)
	}
	v, ok := version(secret, label)
	if !ok {
		return fmt.Errorf("the secret %s has no version with the label %s", arn, label)
	}
	_, err := s.opened.Value(secret, v)
	return err
}

// Versions names the versions of a secret, so that one who was given others can be
// distinguished; empty for a secret that is not in the set.
func (s *Set) Versions(arn string) string {
	secret, _ := s.find(arn)
	var list []string
	for _, v := range secret.Versions {
		list = append(list, v.ID+"="+strings.Join(v.Stages, ","))
	}
	return strings.Join(list, " ")
}
