package secrets

import "time"

// Secret is a named value with versions, as AWS Secrets Manager keeps them.
type Secret struct {
	Name string
	// Suffix is the six random characters at the end of the ARN.
	Suffix      string
	Description string
	KMSKeyID    string
	Tags        map[string]string
	CreatedAt   time.Time
	ChangedAt   time.Time
	// DeletedAt and PurgeAt are zero unless the secret is deleted: it can be
	// restored until PurgeAt.
	DeletedAt, PurgeAt time.Time
	// Stages are the staging labels, each on one version.
	Stages map[string]string
}

// SecretVersion is a value of a secret. It never changes.
type SecretVersion struct {
	ID string
	// Sealed is the value, wrapped by the master key.
	Sealed []byte
	// Binary is set when the value came as SecretBinary.
	Binary    bool
	CreatedAt time.Time
	// Stages are the labels on it: those it gets, or those it has.
	Stages []string
}

// UnknownSuffix stands in the ARN of a secret that was named without its suffix.
const UnknownSuffix = "??????"
