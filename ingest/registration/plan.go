package registration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Action is what makes a registration as it should be.
type Action string

// The actions.
const (
	None   Action = "none" // it is as it should be
	Create Action = "create"
	Update Action = "update"
)

// Mark tells what a [Line] is to a plan.
type Mark string

// The marks.
const (
	Keep   Mark = "keep"
	Remove Mark = "remove" // the vendor holds it
	Add    Mark = "add"    // the vendor shall hold it
)

// Line is one value of a registration as it is shown: without secrets (I10).
type Line struct {
	Mark  Mark   `json:"mark"`
	Field string `json:"field"`
	Value string `json:"value"`
}

// Plan is what a vendor holds, and what is to be done about it.
type Plan struct {
	Action Action `json:"action"`
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"` // the vendor's, empty where there is none yet
	// Conflict: the registration of this name delivers to another URL.
	Conflict bool   `json:"conflict"`
	Lines    []Line `json:"lines"`
	// Notes are for the operator; nothing is done about them.
	Notes []string `json:"notes,omitempty"`
}

// plan compares what is wanted with what the vendor holds.
func plan(w Wanted, held []record) (Plan, error) {
	want := w.record()
	is, notes, err := find(want, held)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Action: None, Name: want.name, ID: is.id, Conflict: is.id != "" && is.url != want.url, Notes: notes}
	if !want.sendToken && is.trustToken(want) {
		p.Notes = append(p.Notes, "the vendor does not show which token it has: --send-token sends the present one, as after a rotation")
	}
	p.Lines = compare(is, want)
	switch {
	case is.id == "":
		p.Action = Create
	case slices.ContainsFunc(p.Lines, func(l Line) bool { return l.Mark != Keep }):
		p.Action = Update
	}
	return p, nil
}

// find returns the registration that is ours, a zero one if there is none, and
// what there is to say of the others.
func find(want record, held []record) (ours record, notes []string, err error) {
	var same []record // of our name, those with our URL first
	for _, r := range held {
		switch {
		case r.name == want.name:
			same = append(same, r)
		case r.url == want.url:
			notes = append(notes, fmt.Sprintf("%s (%s) delivers here, too, so that events come twice: delete one of them at the vendor", quoted(r.name), r.id))
		}
	}
	slices.SortFunc(same, func(a, b record) int {
		if (a.url == want.url) != (b.url == want.url) {
			if a.url == want.url {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	switch {
	case len(same) == 0:
		return record{}, notes, nil
	case len(same) > 1 && same[0].url != want.url:
		return record{}, nil, &ambiguousError{name: want.name, ids: ids(same)}
	case same[0].unreadable:
		return record{}, nil, fmt.Errorf("registration %s (%s) has fields of another kind than documented; delete it at the vendor, or use another registration.name", quoted(want.name), same[0].id)
	}
	for _, r := range same[1:] {
		notes = append(notes, fmt.Sprintf("%s has the same name and delivers to %s: delete it at the vendor if it is not another's", r.id, withoutQuery(r.url)))
	}
	return same[0], notes, nil
}

func ids(all []record) []string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.id
	}
	return names
}

// ambiguousError tells of registrations none of which is known to be ours.
type ambiguousError struct {
	name string
	ids  []string
}

func (e *ambiguousError) Error() string {
	return fmt.Sprintf("%d registrations are named %s and none delivers to our URL: %s; delete them at the vendor, or use another registration.name",
		len(e.ids), quoted(e.name), strings.Join(e.ids, ", "))
}

// trustToken takes a token that the vendor does not show for the wanted one, and
// tells whether it had to.
func (r *record) trustToken(want record) bool {
	isToken := func(f field) bool { return f.name == tokenField }
	i, j := slices.IndexFunc(r.fields, isToken), slices.IndexFunc(want.fields, isToken)
	if i < 0 || j < 0 || r.fields[i].value != "" {
		return false
	}
	r.fields = slices.Clone(r.fields)
	r.fields[i].value = want.fields[j].value
	return true
}

// compare shows what is kept, what goes and what comes, field by field.
func compare(is, want record) []Line {
	has := func(all []field, f field) bool {
		return slices.ContainsFunc(all, func(g field) bool { return g.name == f.name && g.value == f.value })
	}
	lines := []Line{}
	add := func(m Mark, f field) { lines = append(lines, Line{Mark: m, Field: f.name, Value: f.show(f.value)}) }
	var done []string
	for _, named := range want.fields {
		if slices.Contains(done, named.name) {
			continue
		}
		done = append(done, named.name)
		for _, f := range is.fields {
			if f.name == named.name && has(want.fields, f) {
				add(Keep, f)
			} else if f.name == named.name {
				add(Remove, f)
			}
		}
		for _, f := range want.fields {
			if f.name == named.name && !has(is.fields, f) {
				add(Add, f)
			}
		}
	}
	return lines
}
