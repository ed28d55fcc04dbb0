package audit

import (
	"time"

	"github.com/fescue-edge/fescue"
)

// Record is one call that changed something, or was refused when it meant
// to. It never holds secrets or bodies.
type Record struct {
	// Partition is where the call acted. Its Region is empty for what belongs to
	// an account in whatever Region: access keys, IAM, STS.
	Partition fescue.Partition
	// At is when the call was answered.
	At time.Time
	// ID is the request's, x-amzn-RequestId. A request that changed several things
	// has a record for each: "/2" and so on stand behind the id.
	ID string
	// KeyID and KeyName are the access key that signed; KeyName alone is set, to
	// "operator", for what was done on the data folder.
	KeyID, KeyName string
	// Person is who had signed in and acted with the key's rights; empty for whoever has
	// the key itself.
	Person string
	// Source is the address that the call came from.
	Source string
	// Service is the signing name.
	Service   string
	Operation string
	// Resource is the ARN of what was changed or made, "*" where the call names
	// nothing.
	Resource string
	// Status is the HTTP status; Code is the error's name, empty for success.
	Status int
	Code   string
	// Repeats is set in a record that stands for so many calls, all denied alike and
	// like one that has a record of its own shortly before; At is when the last of
	// them was answered, and ID is no request's.
	Repeats int
}

// Filter chooses audit records of a partition, and the account's own.
type Filter struct {
	// From is included, To is not; zero stands for no bound.
	From, To time.Time
	// KeyID and Operation, when set, are those of the records.
	KeyID, Operation string
	// Newest has the newest first, in place of the oldest.
	Newest bool
	// AfterAt and AfterID continue behind a record.
	AfterAt time.Time
	AfterID string
	Limit   int
}
