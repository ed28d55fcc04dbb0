package agent

import "fmt"

// switchTo makes next what the core starts from. The rename of the manifest is
// the one instant at which that changes; all else follows from it and is done
// again at each start.
func (a *Agent) switchTo(next *deployed) error {
	if a.current == nil && a.folder.foreign() {
		// A group can be recovered from what another core software wrote.
		if err := a.folder.putAway(a.folder.group()); err != nil {
			return err
		}
	}
	if !a.folder.stateSaved {
		// Without it the next start could not know that this deployment has
		// not ended.
		if err := a.folder.saveState(a.state); err != nil {
			return err
		}
	}
	if err := a.keepPrevious(); err != nil {
		return err
	}
	if err := a.folder.keep(a.folder.manifest(), next); err != nil {
		return fmt.Errorf("switch to the manifest of %v: %w", next, err)
	}
	a.current, a.emptied = next, false
	return a.folder.derive(next)
}

// keepPrevious writes down what to go back to: the last deployment that
// succeeded, which is not the current one if that has not ended well.
func (a *Agent) keepPrevious() error {
	switch {
	case a.current == nil, a.emptied:
		// An operator who emptied group.json does not want the old one back.
		a.previous = nil
	case a.current.manifest.Epoch == a.state.Accepted:
		a.previous = a.current
	default:
		return nil
	}
	if err := a.folder.keep(a.folder.previous(), a.previous); err != nil {
		return fmt.Errorf("keep the previous manifest: %w", err)
	}
	return nil
}

// switchBack makes the last deployment that succeeded what the core starts from.
func (a *Agent) switchBack() error {
	if err := a.folder.keep(a.folder.manifest(), a.previous); err != nil {
		return fmt.Errorf("go back to %v: %w", a.previous, err)
	}
	a.current, a.unapplied = a.previous, true
	return a.folder.derive(a.current)
}
