package fescue

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

// RoleARN is the ARN of an IAM role; IAM's resources have no Region.
func (p Partition) RoleARN(path, name string) string {
	return "arn:" + p.AWS + ":iam::" + p.Account + ":role" + path + name
}

// ManagedPolicyARN is the ARN of a managed IAM policy.
func (p Partition) ManagedPolicyARN(path, name string) string {
	return "arn:" + p.AWS + ":iam::" + p.Account + ":policy" + path + name
}
