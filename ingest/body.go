package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
)

// maxRatio bounds how far a gzip body may grow.
const maxRatio = 100

// readBody reads the bytes as they were sent, up to limit. Signatures are made
// over these, before anything is decoded.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *answer) {
	tooLarge := refuse(TooLarge, "body is larger than %d bytes", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return body.Bytes(), nil
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(Interrupted, "body did not arrive in time")
	default:
		return nil, refuse(Unreadable, "body broke off or its transfer coding is wrong")
	}
}

// decodeBody undoes the content coding: none or gzip. The result is at most
// limit bytes and at most maxRatio times the sent ones.
func decodeBody(h http.Header, sent []byte, limit int64) ([]byte, *answer) {
	switch strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ","))) {
	case "", "identity":
		return sent, nil
	case "gzip", "x-gzip":
	default:
		return nil, refuse(UnknownEncoding, "Content-Encoding: want gzip or none")
	}
	if len(sent) == 0 {
		return nil, nil
	}
	limit = min(limit, maxRatio*int64(len(sent)))
	broken := refuse(Unreadable, "Content-Encoding says gzip and the body is none")
	z, err := gzip.NewReader(bytes.NewReader(sent))
	if err != nil {
		return nil, broken
	}
	body, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, broken
	}
	if int64(len(body)) > limit {
		return nil, refuse(TooLarge, "body unpacks to more than %d bytes", limit)
	}
	return body, nil
}

// maxHeaderValue bounds what a request header adds to each record: an array
// would multiply it.
const maxHeaderValue = 256

// jsonType returns the content type as it was sent. A charset is allowed and
// has no meaning: JSON is UTF-8 (RFC 8259), and other bytes are dead letters.
func jsonType(h http.Header) (string, *answer) {
	sent := h.Get("Content-Type")
	media, _, err := mime.ParseMediaType(sent)
	if err != nil || len(sent) > maxHeaderValue || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return "", refuse(NotJSON, "Content-Type: want application/json")
	}
	return sent, nil
}

// deliveryIDs are the headers in which vendors name a request.
var deliveryIDs = []string{"X-Nexus-Delivery-Id", "webhook-id", "svix-id", "X-Request-Id"}

// deliveryID returns the vendor's own id of the request, for tracing; empty when
// it sends none that can be kept.
func deliveryID(h http.Header) string {
	for _, name := range deliveryIDs {
		if id := h.Get(name); id != "" && len(id) <= maxHeaderValue {
			return id
		}
	}
	return ""
}
