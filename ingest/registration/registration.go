// Package registration orders deliveries at the vendors: the push subscription of
// Genesys and the webhook of CXone, as the guides have them (no public document
// of either vendor knows these interfaces). What the guides are silent of is
// chosen here: the path of Genesys, how a list is paged, and that a registration
// is changed by a PUT of its whole body.
//
// A registration is found by its name. One that delivers to another URL is a
// conflict: it may be ours from before a move, or another deployment's. Among
// several of one name, ours is the one with our URL.
package registration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"

	"trunkline/ingest/redacted"
)

// Wanted is a registration as it should be: a [Subscription] or a [Webhook].
type Wanted interface {
	// Check tells wrong of every fault, by the field of the configuration that
	// has it.
	Check(wrong func(field, format string, args ...any))

	at() vendorAPI
	record() record
	body() ([]byte, error)
}

// vendorAPI is where a vendor keeps registrations.
type vendorAPI struct {
	path          string // of the collection; below it, by id, each of them
	query         string // for the first page of the list
	reads, writes string // the scopes that this takes
	// page reads a page of the list that was asked for with query.
	page func(text []byte, query string) (page, error)
}

// page is a part of the list of registrations.
type page struct {
	records []record
	next    string // the reference of the next page, relative to this one; empty after the last
}

// record is a registration as a vendor holds it.
type record struct {
	id, name, url string
	fields        []field // all that we know of, in the order of the body
	unreadable    bool    // at least in part
	sendToken     bool    // see [Webhook]
}

// field is a value of a registration. One that is a set has a field for each
// element.
type field struct {
	name, value string
	show        func(string) string
}

// records reads the entries of a list. One that cannot be read may be another's,
// of a kind that we do not know: what could be read of it is kept.
func records[B interface{ record() record }](entries []json.RawMessage) []record {
	all := make([]record, len(entries))
	for i, e := range entries {
		var b B
		err := json.Unmarshal(e, &b)
		all[i] = b.record()
		all[i].unreadable = err != nil
	}
	return all
}

// simple is a text that is shown as it is.
var simple = regexp.MustCompile(`^[\w.:/-]+( [\w.:/-]+)*$`)

// quoted keeps what a vendor holds from spoiling a terminal.
func quoted(s string) string {
	if simple.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// withoutQuery shows a URL but for the parts that may hold a secret (I10).
func withoutQuery(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return hidden
	}
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if bare.String() != s {
		return quoted(bare.String()) + " " + hidden
	}
	return quoted(s)
}

func plain(s string) string { return s }

// hidden is shown for a secret.
var hidden = fmt.Sprint(redacted.Text(""))
