package notifications

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"trunkline/ingest/outbound"
)

// api are the calls to the vendor. Errors name the operation: a path may hold
// the id of a channel, by which it can be read (I10).
type api struct {
	url     string
	http    *http.Client
	timeout time.Duration // of one call
}

// answered is an answer other than 2xx.
type answered int

func (a answered) Error() string { return fmt.Sprintf("answered %d", int(a)) }

const (
	pageSize  = 100      // ids of a page
	maxPages  = 1000     // of a list; 5 times what channels hold
	maxAnswer = 16 << 20 // bytes
)

// channel is one that the vendor gave.
type channel struct {
	ID         string `json:"id"`
	ConnectURI string `json:"connectUri"`
	Expires    string `json:"expires"`
}

func (a api) open(ctx context.Context) (ch channel, err error) {
	if err = a.call(ctx, http.MethodPost, "/api/v2/notifications/channels", nil, &ch); err == nil && ch.ID == "" {
		err = errors.New("the answer names no channel")
	}
	if err != nil {
		return ch, fmt.Errorf("open a channel: %w", err)
	}
	return ch, nil
}

// subscribe makes the topics the ones of the channel. That extends its life.
func (a api) subscribe(ctx context.Context, id string, topics []topic) error {
	return a.topics(ctx, http.MethodPut, id, topics)
}

// add adds the topics to those of the channel.
func (a api) add(ctx context.Context, id string, topics ...topic) error {
	return a.topics(ctx, http.MethodPost, id, topics)
}

func (a api) topics(ctx context.Context, method, id string, topics []topic) error {
	type named struct {
		ID string `json:"id"`
	}
	all := make([]named, len(topics))
	for i, t := range topics {
		all[i].ID = t.name
	}
	if err := a.call(ctx, method, "/api/v2/notifications/channels/"+url.PathEscape(id)+"/subscriptions", all, nil); err != nil {
		return fmt.Errorf("subscribe %d topics: %w", len(topics), err)
	}
	return nil
}

// list returns the ids of all entities of a list.
func (a api) list(ctx context.Context, path string) (ids []string, err error) {
	for number := 1; number <= maxPages; number++ {
		var page struct {
			Entities []struct {
				ID string `json:"id"`
			} `json:"entities"`
			PageCount int `json:"pageCount"`
		}
		if err := a.call(ctx, http.MethodGet, fmt.Sprintf("%s?pageSize=%d&pageNumber=%d", path, pageSize, number), nil, &page); err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		for _, e := range page.Entities {
			if e.ID != "" {
				ids = append(ids, e.ID)
			}
		}
		if number >= page.PageCount {
			return ids, nil
		}
	}
	return nil, fmt.Errorf("list %s: there are more than %d pages", path, maxPages)
}

// permissions returns what each template requires.
func (a api) permissions(ctx context.Context) (map[string][]string, error) {
	var available struct {
		Entities []struct {
			ID                  string   `json:"id"`
			RequiresPermissions []string `json:"requiresPermissions"`
		} `json:"entities"`
	}
	if err := a.call(ctx, http.MethodGet, "/api/v2/notifications/availabletopics?expand=requiresPermissions", nil, &available); err != nil {
		return nil, fmt.Errorf("list the available topics: %w", err)
	}
	of := map[string][]string{}
	for _, e := range available.Entities {
		of[e.ID] = e.RequiresPermissions
	}
	return of, nil
}

// call sends in and reads the answer into out, where they are not nil.
func (a api) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	resp, err := outbound.JSON(ctx, a.http, method, strings.TrimSuffix(a.url, "/")+path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	if resp.StatusCode/100 != 2 {
		_, _ = io.Copy(io.Discard, answer) // read, so that its connection serves again
		return answered(resp.StatusCode)
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, answer)
		return nil
	}
	if err := json.NewDecoder(answer).Decode(out); err != nil {
		return errors.New("the answer is not what the vendor's documentation says")
	}
	return nil
}
