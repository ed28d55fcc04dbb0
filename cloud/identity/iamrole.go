package identity

import "time"

// IAMRole is a role of AWS IAM: kept for the scripts that make it, and assumed
// with AssumeRole.
type IAMRole struct {
	Name        string
	ID          string
	Path        string
	Description string
	// Trust is the AssumeRolePolicyDocument as it was sent.
	Trust      string
	MaxSession time.Duration
	Tags       map[string]string
	CreatedAt  time.Time
}

// IAMPolicy is a managed policy.
type IAMPolicy struct {
	Name        string
	ID          string
	Path        string
	Description string
	Document    string
	CreatedAt   time.Time
}
