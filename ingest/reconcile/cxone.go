package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"trunkline/ingest/outbound"
	"trunkline/vendors"
)

// CXoneDefaults are read where the configuration names no list.
var CXoneDefaults = []string{"agents", "skills", "agents/states", "contacts/completed"}

// CXoneLists are all that can be read.
var CXoneLists = slices.Sorted(maps.Keys(cxoneLists))

// cxoneList is what is known of a list.
type cxoneList struct {
	ids   []string // members that tell a record from the others
	pages bool     // takes skip and top
	order string   // that it takes, by the time of the update
}

var cxoneLists = map[string]cxoneList{
	"agents":             {ids: []string{"agentId"}, pages: true},
	"skills":             {ids: []string{"skillId"}, pages: true},
	"agents/states":      {ids: []string{"agentId"}},
	"agents/skills":      {ids: []string{"agentId", "skillId"}, pages: true},
	"contacts/completed": {ids: []string{"contactId"}, pages: true, order: "lastUpdateTime asc"},
	"contacts/active":    {ids: []string{"contactId"}},
}

const (
	pollOverlap = time.Minute
	pollTop     = 500 // records of a page
	// readings is how often a list is read that changes meanwhile.
	readings = 5
	pollTime = "2006-01-02T15:04:05.000Z"
)

// cxone polls lists of what was updated.
type cxone struct{ caller }

func (c *cxone) overlap() time.Duration { return pollOverlap }

func (c *cxone) hint(list string) string { return list }

// changes reads a list until it stood still: a record that is updated between two
// pages moves to the end, and one that nobody has read moves into its place.
func (c *cxone) changes(ctx context.Context, list string, since time.Time, keep keep) error {
	r := reading{cxone: c, list: list, since: since, kept: map[[sha256.Size]byte]bool{}, keep: keep}
	for range readings {
		moved, err := r.read(ctx)
		if err != nil || !moved {
			return err
		}
	}
	return fmt.Errorf("the list changed while it was read, %d times", readings)
}

// reading is a list being read.
type reading struct {
	*cxone
	list  string
	since time.Time
	keep  keep
	kept  map[[sha256.Size]byte]bool // records, by any reading of this run
}

// read reads the pages of the list. The position is that of the first: what is
// updated later is the next run's. It does not move if the list did, for then a
// record may stand on none of the pages.
func (r *reading) read(ctx context.Context) (moved bool, err error) {
	know := cxoneLists[r.list]
	query := url.Values{"updatedSince": {r.since.UTC().Format(pollTime)}}
	if know.order != "" {
		query.Set("orderBy", know.order)
	}
	if know.pages {
		query.Set("top", strconv.Itoa(pollTop))
	}
	at := r.base.JoinPath(r.list)
	at.RawQuery = query.Encode()
	seen := map[string][sha256.Size]byte{} // in this reading
	var reached time.Time
	linked := false // by links, not by skip and top
	for n, read := 0, 0; n < maxPages; n++ {
		a, err := r.call(ctx, http.MethodGet, at, nil)
		if err != nil {
			return false, err
		}
		p, err := readPolled(a)
		if err != nil {
			return false, err
		}
		switch {
		case n > 0:
		case a.status == http.StatusNoContent:
			reached = r.since.Add(pollOverlap) // there is nothing new: the position stays
		default:
			if reached, err = p.reached(a); err != nil {
				return false, err
			}
		}
		var fresh [][]byte
		repeats := len(p.records) > 0
		for _, record := range p.records {
			id, sum := know.idOf(record), sha256.Sum256(record)
			before, again := seen[id]
			repeats = repeats && again && before == sum
			moved = moved || again && before != sum
			seen[id] = sum
			if !r.kept[sum] {
				fresh = append(fresh, record)
				r.kept[sum] = true
			}
		}
		next, err := r.next(at, p.next)
		switch {
		case err != nil:
			return false, err
		case next != nil:
			linked = true
		case linked || !know.pages || len(p.records) == 0:
			// It was the last: the vendor links to the next, or an empty one is last.
		case repeats:
			return false, errors.New("the vendor answers the same page again")
		default:
			read += len(p.records)
			query.Set("skip", strconv.Itoa(read))
			next = r.base.JoinPath(r.list)
			next.RawQuery = query.Encode()
		}
		end := reached
		if next != nil || moved {
			end = time.Time{}
		}
		if err := r.keep(fresh, end); err != nil {
			return false, err
		}
		if next == nil {
			return moved, nil
		}
		at = next
	}
	return false, errTooManyPages
}

// next is where the link of a page leads, nil without one.
func (r *reading) next(page *url.URL, link string) (*url.URL, error) {
	if link == "" {
		return nil, nil
	}
	next, err := page.Parse(link)
	if err != nil {
		return nil, errors.New("the link to the next page is no URL")
	}
	if next.Scheme != r.base.Scheme || !strings.EqualFold(next.Host, r.base.Host) {
		return nil, fmt.Errorf("%w: the link to the next page leads to another host than that of api.url", outbound.ErrRefused)
	}
	return next, nil
}

// idOf tells a record from the others of its list.
func (l cxoneList) idOf(record []byte) string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(record, &members); err != nil {
		return string(record) // its mapper will say what is wrong with it
	}
	var id strings.Builder
	for _, name := range l.ids {
		fmt.Fprintf(&id, "%s ", members[name])
	}
	return id.String()
}

// polled is one page of a list.
type polled struct {
	records  [][]byte
	next     string
	pollTime string
}

// readPolled finds the records of a page: they stand in its only array, whatever the
// vendor calls that.
func readPolled(a answer) (polled, error) {
	var p polled
	if a.status == http.StatusNoContent {
		return p, nil
	}
	var members map[string]json.RawMessage
	if err := a.decode(&members); err != nil {
		return polled{}, err
	}
	var links struct {
		Next string `json:"next"`
	}
	for name, to := range map[string]any{"lastPollTime": &p.pollTime, "_links": &links} {
		if raw, ok := members[name]; ok && json.Unmarshal(raw, to) != nil {
			return polled{}, fmt.Errorf("the answer is no page: %s is of another kind than documented", name)
		}
	}
	p.next = links.Next
	lists := 0
	for _, raw := range members {
		if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")) {
			continue
		}
		lists++
		records, _, err := vendors.Split(raw)
		if err != nil {
			return polled{}, errors.New("the answer is no page: its list cannot be read")
		}
		p.records = records
	}
	if lists != 1 {
		return polled{}, fmt.Errorf("the answer is no page: it holds %d lists, want 1", lists)
	}
	return p, nil
}

// reached is the vendor's time of a page, in its body or as the date of its answer.
func (p polled) reached(a answer) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} { // without zone: UTC
		if t, err := time.Parse(layout, p.pollTime); err == nil {
			return t, nil
		}
	}
	if p.pollTime == "" {
		if t, err := http.ParseTime(a.header.Get("Date")); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("the answer is no page: it has no lastPollTime")
}
