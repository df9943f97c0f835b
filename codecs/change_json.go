package codecs

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonChanges writes what Connect's JsonConverter writes with
// schemas.enable=true. The schema is most of a record and never changes, so it
// is copied and the payload is appended by hand, in the schema's order.
type jsonChanges struct {
	keyPrefix, valuePrefix string
}

func newJSONChanges(topic, connector string) *jsonChanges {
	key, value := connectSchemas(topic, connector)
	return &jsonChanges{
		keyPrefix:   `{"schema":` + key + `,"payload":`,
		valuePrefix: `{"schema":` + value + `,"payload":`,
	}
}

func (w *jsonChanges) key(k *changeKey) ([]byte, error) {
	b := make([]byte, 0, len(w.keyPrefix)+len(k.TenantID)+len(k.ResourceType)+len(k.ResourceID)+64)
	b = append(b, w.keyPrefix...)
	b = append(appendKey(append(b, '{'), k), '}')
	return append(b, '}'), nil
}

func (w *jsonChanges) value(e *envelope) ([]byte, error) {
	b := make([]byte, 0, len(w.valuePrefix)+jsonSize(e.Before)+jsonSize(e.After)+768)
	b = append(b, w.valuePrefix...)
	b = appendRow(append(b, `{"before":`...), e.Before)
	b = appendRow(append(b, `,"after":`...), e.After)
	b = appendSource(append(b, `,"source":`...), &e.Source)
	b = appendText(append(b, `,"transaction":null,"op":`...), e.Op)
	b = strconv.AppendInt(append(b, `,"ts_ms":`...), e.TsMs, 10)
	b = appendOptionalInt(append(b, `,"ts_us":`...), e.TsUs)
	b = appendOptionalInt(append(b, `,"ts_ns":`...), e.TsNs)
	b = strconv.AppendBool(append(b, `,"isDeletion":`...), e.IsDeletion)
	return append(b, '}', '}'), nil
}

// jsonSize estimates a row: its data is JSON text inside a JSON string, where
// every quote costs one byte more.
func jsonSize(r *changeRow) int {
	if r == nil {
		return 4
	}
	return len(r.Data)*5/4 + 2*len(r.ResourceID) + 160
}

func appendKey(b []byte, k *changeKey) []byte {
	b = appendText(append(b, `"tenantId":`...), k.TenantID)
	b = appendText(append(b, `,"resourceType":`...), k.ResourceType)
	return appendText(append(b, `,"resourceId":`...), k.ResourceID)
}

func appendRow(b []byte, r *changeRow) []byte {
	if r == nil {
		return append(b, "null"...)
	}
	b = appendKey(append(b, '{'), &r.changeKey)
	b = append(b, `,"name":`...)
	if r.Name != nil {
		b = appendText(b, *r.Name)
	} else {
		b = append(b, "null"...)
	}
	b = appendOptionalInt(append(b, `,"version":`...), r.Version)
	b = append(b, `,"data":`...)
	if r.Data != nil {
		b = appendText(b, r.Data)
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}')
}

func appendSource(b []byte, s *changeSource) []byte {
	b = appendText(append(b, `{"version":`...), s.Version)
	b = appendText(append(b, `,"connector":`...), s.Connector)
	b = appendText(append(b, `,"name":`...), s.Name)
	b = strconv.AppendInt(append(b, `,"ts_ms":`...), s.TsMs, 10)
	b = appendText(append(b, `,"snapshot":`...), s.Snapshot)
	b = appendText(append(b, `,"db":`...), s.DB)
	b = appendText(append(b, `,"sequence":`...), s.Sequence)
	b = appendOptionalInt(append(b, `,"ts_us":`...), s.TsUs)
	b = appendOptionalInt(append(b, `,"ts_ns":`...), s.TsNs)
	b = appendText(append(b, `,"table":`...), s.Table)
	b = appendOptionalText(append(b, `,"eventId":`...), s.EventID)
	b = appendOptionalText(append(b, `,"eventType":`...), s.EventType)
	b = appendText(append(b, `,"tenantId":`...), s.TenantID)
	if s.RawTopic == "" {
		return append(b, `,"rawTopic":null,"rawPartition":null,"rawOffset":null}`...)
	}
	b = appendText(append(b, `,"rawTopic":`...), s.RawTopic)
	b = strconv.AppendInt(append(b, `,"rawPartition":`...), int64(s.RawPartition), 10)
	b = strconv.AppendInt(append(b, `,"rawOffset":`...), s.RawOffset, 10)
	return append(b, '}')
}

// appendText quotes text that a sanitiser has seen, so that quoting cannot fail.
func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	b, _ = jsontext.AppendQuote(b, text)
	return b
}

func appendOptionalText(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	return appendText(b, text)
}

func appendOptionalInt(b []byte, v *int64) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, *v, 10)
}
