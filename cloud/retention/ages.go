package retention

import (
	"fmt"
	"time"

	"github.com/fescue-edge/fescue/cloud/history"
)

// Retained names what is kept for a time only.
type Retained string

// What ends by its age.
const (
	// RetainedTokens are the client tokens of calls: a call that is repeated after
	// that does its work again.
	RetainedTokens Retained = "tokens"
	// RetainedAttempts are the tokens of calls that brought none, see fescue.AttemptToken.
	RetainedAttempts Retained = "attempts"
	// RetainedDeployments are deployments that have ended, with their steps. What
	// runs on a core stays, and so do the last deployments of each group.
	RetainedDeployments Retained = "deployments"
	// RetainedAudit are the records of calls.
	RetainedAudit Retained = "audit"
	// RetainedLogs are lines of cores' logs.
	RetainedLogs Retained = "logs"
	// FleetHistory and RequestHistory are the samples of package history.
	FleetHistory   Retained = "fleet history"
	RequestHistory Retained = "request history"
)

// Ages are how long things are kept; 0 means for ever.
type Ages map[Retained]time.Duration

// attempts is how long an SDK's attempts of one call may go on at least.
const attempts = time.Hour

// fixed is what nobody chooses: history goes with the longest period that is shown.
var fixed = Ages{FleetHistory: history.Kept, RequestHistory: history.Kept, RetainedAttempts: attempts}

// Validate refuses ages that contradict each other: a token must not outlive the
// deployment that it stands for, or a repeated call would find neither.
func (r Ages) Validate() error {
	for what, age := range r {
		if age < 0 {
			return fmt.Errorf("retention of %s: %s is negative; 0 keeps them for ever", what, age)
		}
	}
	tokens, deployments := r[RetainedTokens], r[RetainedDeployments]
	if deployments > 0 && (tokens == 0 || tokens > deployments) {
		return fmt.Errorf("retention of tokens must not be longer than that of deployments, %s", deployments)
	}
	return nil
}

// How often is looked for what is too old.
const (
	most  = time.Hour
	least = time.Minute
)

// interval is how long a sweep may wait for the next one: half of the shortest age, so that
// nothing is kept for much longer than it is to be, between a minute and an hour.
func (r Ages) interval() time.Duration {
	d := most
	for _, age := range r {
		if age > 0 {
			d = min(d, age/2)
		}
	}
	return max(d, least)
}

// DefaultAges is what an operator gets who chooses nothing.
func DefaultAges() Ages {
	const day = 24 * time.Hour
	return Ages{RetainedTokens: 7 * day, RetainedDeployments: 365 * day, RetainedAudit: 365 * day, RetainedLogs: 30 * day}
}
