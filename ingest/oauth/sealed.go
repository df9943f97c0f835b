package oauth

// sealed is a text that no printer finds: fmt calls no method of what stands in
// an unexported field, and prints it raw. Nil is the empty text.
type sealed func() string

func seal(text string) sealed {
	if text == "" {
		return nil
	}
	return func() string { return text }
}

func (s sealed) open() string {
	if s == nil {
		return ""
	}
	return s()
}
