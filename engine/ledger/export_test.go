package ledger

// Pages are the hours that were not written yet.
func (l *Ledger) Pages() []Page { return l.pages(0) }
