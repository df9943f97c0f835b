package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"trunkline/event"
	"trunkline/ingest/notifications"
	"trunkline/vendors"
)

// Notifications are the topics of a tenant that are read from the vendor's
// Notifications API. What the vendor sent while nobody read is told as a gap.
type Notifications struct {
	Vendor, Tenant string
	Mapper         vendors.Mapper
	// Client says what is read and how; its Covered and Handle are ours.
	Client notifications.Options

	Now   func() time.Time // default: time.Now
	NewID func() string    // of batches; default: UUIDv7
}

// notificationsPosition is how far the notifications were read.
type notificationsPosition struct {
	CoveredUntil time.Time `json:"covered_until"` // nothing sent until then is missing, but what was told as a gap
	UpdatedAt    time.Time `json:"updated_at"`
}

// Run reads the notifications into the log until ctx ends or an append fails.
func (n Notifications) Run(ctx context.Context, log PositionLog) error {
	if n.Now == nil {
		n.Now = time.Now
	}
	if n.NewID == nil {
		n.NewID = NewID
	}
	var at notificationsPosition
	if p := log.Position(); p != nil {
		if err := json.Unmarshal(p, &at); err != nil {
			return fmt.Errorf("read the position of the notifications: %w", err)
		}
	}
	o := n.Client
	o.Covered = at.CoveredUntil
	o.Handle = func(ctx context.Context, frames []notifications.Frame, covered time.Time) error {
		return n.append(ctx, log, frames, covered)
	}
	client, err := notifications.NewClient(o)
	if err != nil {
		return err
	}
	return client.Run(ctx)
}

// append makes frames and position durable in one transaction (I2).
func (n Notifications) append(ctx context.Context, log PositionLog, frames []notifications.Frame, covered time.Time) error {
	batch := n.NewID()
	records := make([]Record, len(frames))
	for i, f := range frames {
		records[i] = ReadRecord(event.Raw{
			Vendor: n.Vendor, Tenant: n.Tenant, Transport: event.WebSocket, IngestID: fmt.Sprintf("%s/%d", batch, i),
			ReceivedMs: f.At.UnixMilli(), Body: f.Body,
		}, n.Mapper)
	}
	position, err := json.Marshal(notificationsPosition{CoveredUntil: covered.UTC(), UpdatedAt: n.Now().UTC()})
	if err != nil {
		return fmt.Errorf("encode the position: %w", err)
	}
	return log.Append(ctx, records, position)
}
