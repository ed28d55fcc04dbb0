package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"github.com/fescue-edge/fescue/core/config"
	"github.com/fescue-edge/fescue/disk"
)

// functionUIDs gives each function a user of its own, out of a range of numbers
// without accounts. A function keeps its number for good, through versions and
// restarts, and no other gets it: what it wrote stays its own.
type functionUIDs struct {
	uids config.UIDRange
	file string

	mu    sync.Mutex
	given map[string]int
}

func newFunctionUIDs(uids config.UIDRange, file string) (*functionUIDs, error) {
	u := &functionUIDs{uids: uids, file: file, given: make(map[string]int)}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &u.given)
	}
	if err != nil {
		return nil, fmt.Errorf("read which function has which user: %w", err)
	}
	return u, nil
}

// UID implements plan.FunctionUIDs.
func (u *functionUIDs) UID(function string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if uid, ok := u.given[function]; ok && u.uids.Contains(uid) {
		return uid, nil
	}
	taken := slices.Collect(maps.Values(u.given))
	for uid := u.uids.First; uid <= u.uids.Last; uid++ {
		if slices.Contains(taken, uid) {
			continue
		}
		if account, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			return 0, fmt.Errorf("UID %d of runtime.functionUids is the account %s of this machine", uid, account.Username)
		}
		given := maps.Clone(u.given)
		given[function] = uid
		text, err := json.MarshalIndent(given, "", "  ")
		if err == nil {
			err = disk.WriteFile(u.file, append(text, '\n'), 0o600)
		}
		if err != nil {
			return 0, fmt.Errorf("write down which function has which user: %w", err)
		}
		u.given = given
		return uid, nil
	}
	return 0, fmt.Errorf("all of runtime.functionUids (%s) are given", u.uids)
}
