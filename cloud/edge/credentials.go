package edge

import (
	"net/http"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// getCredentials gives a core a temporary key for the role of the group that deploys
// it. The action is the one that the original's cores were allowed.
func (h *Handler) getCredentials(w http.ResponseWriter, c *caller) error {
	groupID := c.PathValue("GroupId")
	arn, err := fescue.ParseARN(c.PathValue("CoreArn"))
	thing, ok := arn.ThingName()
	if err != nil || !ok || !fescue.ValidThingName(thing) || !fescue.ValidID(groupID) {
		return refuse(http.StatusBadRequest, "Invalid", "the path names no group and ARN of a thing")
	}
	if arn.Partition() != c.Partition {
		return refuse(http.StatusNotFound, "NotFound", "the core is not in this partition")
	}
	if err := c.thing(thing); err != nil {
		return err
	}
	if err := c.may(c.Principal, "greengrass:AssumeRoleForGroup", c.Partition.DefinitionARN(fescue.GroupKind, groupID)); err != nil {
		return err
	}
	s, err := h.Exchange.Credentials(c.Context(), c.Principal, thing, groupID)
	if err != nil {
		return err
	}
	h.Logger.Info("credentials of a group's role given to its core", "group", groupID, "core", thing, "key", s.ID)
	writeJSON(w, http.StatusOK, corelink.CredentialsAnswer{Credentials: corelink.Credentials{
		AccessKeyID: s.ID, SecretAccessKey: s.Secret, SessionToken: s.Token, Expiration: s.ExpiresAt.UTC(),
	}})
	return nil
}
