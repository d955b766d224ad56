// Package readiness says whether a service may be left to automation: row by row, each yes, no or cannot tell, and each that is not
// yes with how to get there.
//
// What a rule file says is in the service's policy. What it cannot say, because it is a matter of the world (who holds a role, who
// is paged, whether a mode was ever left again), is in Facts, which a server gives. Judge puts the two together and asks nobody:
// what it is not given it cannot tell, which is never a yes.
//
// A drill is a stay in a mode that ended by the mode's own way back. It does not matter who began it: automation in an incident, or
// a person on a quiet morning, who is to do so because the first time must not be in an incident.
package readiness
