package agent

import (
	"path/filepath"

	"github.com/fescue-edge/fescue/disk"
)

// partSuffix is of a download that is not finished yet, disk.NewSuffix of all else.
const partSuffix = ".part"

// layout is where things lie below the deployment folder. The folders group and
// lambda are the original's; the rest is Fescue's own.
type layout struct{ root string }

func (l layout) store() string                { return filepath.Join(l.root, ".store") }
func (l layout) artifact(hash string) string  { return filepath.Join(l.store(), hash) }
func (l layout) part(hash string) string      { return l.artifact(hash) + partSuffix }
func (l layout) unpacking(hash string) string { return l.artifact(hash) + disk.NewSuffix }
func (l layout) manifest() string             { return filepath.Join(l.root, "manifest.dsse") }
func (l layout) previous() string             { return filepath.Join(l.root, "previous.dsse") }
func (l layout) state() string                { return filepath.Join(l.root, "state.json") }
func (l layout) groupFolder() string          { return filepath.Join(l.root, "group") }
func (l layout) group() string                { return filepath.Join(l.groupFolder(), "group.json") }
func (l layout) lambdas() string              { return filepath.Join(l.root, "lambda") }

// before is where what another core software left in the way is put.
func (l layout) before() string { return filepath.Join(l.root, "before-fescue") }
