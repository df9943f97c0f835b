package drift

// typeSet are JSON types, one bit each.
type typeSet uint8

var typeNames = []string{"null", "boolean", "number", "string", "array", "object"}

// typeOf is the type of a JSON text, by its first byte.
func typeOf(text string) typeSet {
	if text == "" {
		return 0
	}
	switch text[0] {
	case 'n':
		return 1 << 0
	case 't', 'f':
		return 1 << 1
	case '"':
		return 1 << 3
	case '[':
		return 1 << 4
	case '{':
		return 1 << 5
	default:
		return 1 << 2
	}
}

func (s typeSet) names() []string {
	var names []string
	for i, name := range typeNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func typesNamed(names []string) (s typeSet) {
	for i, name := range typeNames {
		for _, n := range names {
			if n == name {
				s |= 1 << i
			}
		}
	}
	return s
}

// values leaves null out, which is of every type.
func (s typeSet) values() typeSet { return s &^ 1 }
