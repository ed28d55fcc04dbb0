package events

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/fescue-edge/fescue"
)

// Notification is one "Greengrass Deployment Status Change" event on its way to
// one destination. It is delivered at least once; a repeated one has the same
// id.
type Notification struct {
	Destination string
	// ID is the id in Body.
	ID           string
	Partition    fescue.Partition
	DeploymentID string
	// Revision orders the notifications of one deployment.
	Revision int64
	// Body is the event, as JSON.
	Body []byte
	// Attempts counts the failed attempts to deliver it.
	Attempts int
	// CreatedAt is when the deployment changed.
	CreatedAt time.Time
}

// NotificationBacklog is what waits for one destination.
type NotificationBacklog struct {
	Destination string
	Pending     int64
	// Oldest is when the oldest of them was made.
	Oldest time.Time
}

// Envelope is what every event has, as EventBridge carried it (AWS IoT Greengrass V1
// developer guide, "Get deployment notifications").
type Envelope struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
}

// envelope is that of a new event of a partition.
func envelope(p fescue.Partition, detailType string, at time.Time) Envelope {
	return Envelope{
		Version: "0", ID: fescue.NewTimedID(), DetailType: detailType, Source: "aws.greengrass",
		Account: p.Account, Time: fescue.TimestampSeconds(at), Region: p.Region, Resources: []string{},
	}
}

// StatusChange is the event of a notification.
type StatusChange struct {
	Envelope
	Detail StatusChangeDetail `json:"detail"`
}

// StatusChangeDetail says which deployment changed, and to what.
type StatusChangeDetail struct {
	GroupID        string                  `json:"group-id"`
	DeploymentID   string                  `json:"deployment-id"`
	DeploymentType fescue.DeploymentType   `json:"deployment-type"`
	Status         fescue.DeploymentStatus `json:"status"`
}

// Change is the event that carries a deployment's present status, under a new id.
func Change(d fescue.Deployment) StatusChange {
	return StatusChange{
		envelope(d.Partition, "Greengrass Deployment Status Change", d.UpdatedAt),
		StatusChangeDetail{d.GroupID, d.ID, d.Type, d.Status},
	}
}

// StatusChange reads the notification's body.
func (n Notification) StatusChange() (StatusChange, error) {
	var c StatusChange
	if err := json.Unmarshal(n.Body, &c); err != nil {
		return c, fmt.Errorf("notification %s: %w", n.ID, err)
	}
	return c, nil
}

// StatusChangeTopics is how the MQTT topics of notifications begin.
const StatusChangeTopics = "$aws/events/greengrass/deployment/"

// Topic is the MQTT topic of the event: its group, its deployment and its status
// are levels, so that a filter can choose among them.
func (c StatusChange) Topic() string {
	return StatusChangeTopics + c.Detail.GroupID + "/" + c.Detail.DeploymentID + "/" + string(c.Detail.Status)
}
