package agent

import (
	"io/fs"
	"path/filepath"

	"github.com/fescue-edge/fescue/core/models"
)

// layout is where things lie below the deployment folder. The folders group and
// lambda are the original's; the rest is Fescue's own.
type layout struct{ root string }

func (l layout) store() string       { return filepath.Join(l.root, ".store") }
func (l layout) secrets() string     { return filepath.Join(l.root, ".secrets") }
func (l layout) manifest() string    { return filepath.Join(l.root, "manifest.dsse") }
func (l layout) previous() string    { return filepath.Join(l.root, "previous.dsse") }
func (l layout) state() string       { return filepath.Join(l.root, "state.json") }
func (l layout) groupFolder() string { return filepath.Join(l.root, "group") }
func (l layout) group() string       { return filepath.Join(l.groupFolder(), "group.json") }
func (l layout) carried() string     { return filepath.Join(l.root, ".bundle") }
func (l layout) doneCarried() string { return l.carried() + ".done" }
func (l layout) handover() string    { return filepath.Join(l.root, "bundle-status.json") }
func (l layout) lambdas() string     { return filepath.Join(l.root, "lambda") }

// resources has a folder for each function without a container that is given models.
func (l layout) resources() string { return filepath.Join(l.root, models.FolderName) }

// before is where what another core software left in the way is put.
func (l layout) before() string { return filepath.Join(l.root, "before-fescue") }

// Modes of folders. Functions need the code that they are given by its path; they
// list nothing above it.
const (
	passable fs.FileMode = 0o711
	private  fs.FileMode = 0o700
)
