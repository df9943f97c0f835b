package stream

import (
	"strconv"
	"testing"

	"github.com/lovoo/goka/codec"

	"trunkline/topology"
)

// Trap 19: a view is ready once it has read its table to the end, not before.
//
// Seen failing with Ready not asking goka whether the view has recovered.
func TestReadyViewHasEveryRow(t *testing.T) {
	const rows = 5000
	b := startBroker(t)
	cfg := config(t, b.Addr(), "v1")
	createTopics(t, cfg, tableTopic)
	a := NewAppender(cfg, topology.Partition)
	defer a.Close() //nolint:errcheck // a test's own
	var records []Outgoing
	for i := range rows {
		records = append(records, Outgoing{Topic: tableTopic, Key: strconv.Itoa(i), Value: []byte(strconv.Itoa(i))})
	}
	if err := a.Append(t.Context(), records); err != nil {
		t.Fatal(err)
	}

	v, err := NewView(cfg, ViewOptions{Table: tableTopic, Codec: new(codec.Int64), Hasher: topology.Hasher})
	if err != nil {
		t.Fatal(err)
	}
	go v.Run(t.Context()) //nolint:errcheck // ends with the test
	until(t, "the view is ready", func() bool { return v.Ready() == nil })
	for i := range rows {
		if n, err := v.Row(strconv.Itoa(i)); err != nil || n != int64(i) {
			t.Fatalf("row %d: got %v, %v once the view was ready", i, n, err)
		}
	}
}
