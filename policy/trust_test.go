package policy_test

import (
	"errors"
	"testing"

	"github.com/fescue-edge/fescue/policy"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	const me, account, assume = "arn:aws:iam::123456789012:user/me", "123456789012", "sts:AssumeRole"
	for document, want := range map[string]bool{
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`:                                                                                                                  true,
		`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/me"},"Action":"sts:*"}]}`:                                                true,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":["x","123456789012"]},"Action":"sts:AssumeRole"}}`:                                                                                         true,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws-cn:iam::123456789012:root"},"Action":"sts:AssumeRole"}}`:                                                                          true,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"sts:AssumeRole"}}`:                                                                             false,
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:TagSession"}}`:                                                                                                          false,
		`{"Statement":{"Effect":"Allow","Principal":{"Service":"greengrass.amazonaws.com"},"Action":"sts:AssumeRole"}}`:                                                                               false,
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}}`:                                                              false,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"},{"Effect":"Deny","Principal":{"AWS":"123456789012"},"Action":"*"}]}`:                                              false,
		`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"false"}}},{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}`: false,
	} {
		trust, err := policy.ParseTrust(document)
		if err != nil {
			t.Errorf("%s: %v", document, err)
		} else if got := trust.Allows(me, account, assume); got != want {
			t.Errorf("%s: %v", document, got)
		}
	}
	for _, document := range []string{
		``, `[]`, `{}`, `{"Statement":[]}`, `{"Statement":{}}`, `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Effect":"Allow","Principal":"me","Action":"sts:AssumeRole"}}`, `{"Statement":{"Effect":"Allow","Principal":{},"Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"User":"me"},"Action":"sts:AssumeRole"}}`, `{"Statement":{"Effect":"Allow","Principal":"*"}}`,
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, `{"Statement":{"Effect":"May","Principal":"*","Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Principal":"*","Action":"sts:AssumeRole"}}`, `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":1}}`,
	} {
		if _, err := policy.ParseTrust(document); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("%s: %v", document, err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]bool{
		`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"NumericLessThan":{"s3:max-keys":"10"}}}}`: true,
		`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"s3:x-amz-acl":"x"}}}}`:    true,
		`{"Statement":{"Effect":"Allow","Action":"s3:*"}}`:                                                                     false,
	} {
		if _, err := policy.Parse(document); !errors.Is(err, policy.ErrMalformed) || errors.Is(err, policy.ErrUnsupported) != want {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// FuzzParseTrust looks for documents on which parsing or deciding fails.
func FuzzParseTrust(f *testing.F) {
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"AWS":["x","123456789012"]},"Action":"sts:AssumeRole","Condition":{}}}`)
	f.Add(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":["*"]}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		trust, err := policy.ParseTrust(document)
		if err != nil {
			if !errors.Is(err, policy.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		trust.Allows("arn:aws:iam::123456789012:user/me", "123456789012", "sts:AssumeRole")
	})
}
