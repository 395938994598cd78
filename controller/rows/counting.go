package rows

// Counting are the tables whose rows count packets that somebody asks for.
var Counting = []*Table{vip.Table, backend.Table, pinnedStation.Table}

// CountingKey is what tells a row of one of Counting apart: a VIPKey, a BackendID or the MAC of a pinned station. Of e
// only the key is read.
func CountingKey(t *Table, e Entry) any {
	switch t {
	case vip.Table:
		return e.vipKey()
	case backend.Table:
		return BackendID(e.Key[0].Lo)
	case pinnedStation.Table:
		return e.Key[0].MAC()
	}
	return nil
}
