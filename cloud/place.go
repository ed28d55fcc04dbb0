package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/store"
)

// Place is what the ARNs of a server's own resources carry.
type Place struct {
	// AWS is the first part of ARNs, empty where it is not known.
	AWS string `json:"aws"`
	// Account is the one of the first access key.
	Account string `json:"account"`
	// Regions are those that are served, the first one first.
	Regions []string `json:"regions"`
}

const placeSetting = "place"

// KnownPlace is the place of the server that last ran on the state; of a state
// that none has run on yet it is empty. Servers of early versions did not keep
// theirs: then it is what access keys, groups, things and functions show.
func KnownPlace(ctx context.Context, state State, logger *slog.Logger) (Place, error) {
	if !state.shared() {
		if _, err := os.Stat(filepath.Join(state.DataDir, databaseName)); errors.Is(err, fs.ErrNotExist) {
			return Place{}, nil
		}
	}
	_, db, err := state.open(ctx, logger)
	if err != nil {
		return Place{}, err
	}
	defer db.Close()
	return keptPlace(ctx, db)
}

func keptPlace(ctx context.Context, db *store.DB) (p Place, err error) {
	kept, err := db.Settings().Kept(ctx, placeSetting)
	if err != nil {
		return p, err
	}
	if kept != "" {
		if err := json.Unmarshal([]byte(kept), &p); err != nil {
			return p, fmt.Errorf("the setting %s of the database: %w", placeSetting, err)
		}
		return p, nil
	}
	keys, err := db.AccessKeys().AccessKeys(ctx)
	if err != nil || len(keys) == 0 {
		return p, err
	}
	p.Account = keys[0].Account
	partitions, err := db.Settings().Partitions(ctx, "", p.Account)
	for _, in := range partitions {
		p.Regions = append(p.Regions, in.Region)
	}
	return p, err
}

// keepPlace keeps the server's place for later starts. What an earlier server
// served and this one does not is logged: it is still there, and unreachable.
func (s *Server) keepPlace(ctx context.Context) error {
	before, err := keptPlace(ctx, s.db)
	if err != nil {
		return err
	}
	without := slices.DeleteFunc(before.Regions, func(region string) bool { return slices.Contains(s.o.Regions, region) })
	if len(without) > 0 {
		s.o.Logger.Warn("Regions that were served before are not served now; name them with --regions", "regions", strings.Join(without, ","))
	}
	now, err := json.Marshal(Place{s.o.AWS, s.o.Account, s.o.Regions})
	if err != nil {
		return err
	}
	return s.db.Settings().Put(ctx, placeSetting, string(now))
}

const brokerSetting = "broker form"

// keepBrokerForm refuses a message broker that other servers of the database use in a form
// of which this version knows nothing.
func (s *Server) keepBrokerForm(ctx context.Context) error {
	if s.o.Broker == nil {
		return nil
	}
	kept, err := s.db.Settings().Keep(ctx, brokerSetting, broker.Form)
	if err == nil && kept != broker.Form {
		err = fmt.Errorf("the servers of this database share --broker in the form %s, and this version has the form %s: it cannot run beside them; what to do is in the changes of the version that brought the later one", kept, broker.Form)
	}
	return err
}
