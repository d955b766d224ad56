package spec

// Key is one that a specification may have, with what it means, for people who write it.
type Key struct{ Name, About string }

// Keys are those of a kind, in the order in which people are told them.
type Keys []Key

// Names are those of the keys.
func (k Keys) Names() []string {
	out := make([]string, len(k))
	for i := range k {
		out[i] = k[i].Name
	}
	return out
}

// Map is what each means, by name.
func (k Keys) Map() map[string]string {
	out := make(map[string]string, len(k))
	for _, key := range k {
		out[key.Name] = key.About
	}
	return out
}
