package cores

import (
	"time"

	"github.com/fescue-edge/fescue"
)

// Connectivity is the whole list of a core.
type Connectivity struct {
	// Version is a UUID that changes with every update.
	Version   string
	Info      []fescue.ConnectivityInfo
	UpdatedAt time.Time
}
