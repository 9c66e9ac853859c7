package render

import (
	"slices"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// breakerScope says how far a breaker reaches, where that is more than itself
// or should be.
func (s *screen) breakerScope(b api.Breaker) []fact {
	switch {
	case b.ScopeNote != "":
		return []fact{{"scope", s.warn.Render(clean(b.Scope)) + "  " + clean(b.ScopeNote)}}
	case b.Scope == api.ScopeShared:
		return []fact{{"scope", "shared with every replica"}}
	}
	return nil
}

// breakerScopes says the same of a table of breakers, once an instance and word.
func (s *screen) breakerScopes(rs []api.Result[api.Breakers]) {
	var facts []fact
	for _, r := range rs {
		var said []fact
		for _, b := range worstFirst(r.Value) {
			for _, f := range s.breakerScope(b) {
				if len(rs) > 1 {
					f.text = instance(r.Instance) + "  " + f.text
				}
				if !slices.Contains(said, f) {
					said = append(said, f)
				}
			}
		}
		facts = append(facts, said...)
	}
	if len(facts) > 0 {
		s.line()
		s.facts(facts)
	}
}
