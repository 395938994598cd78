// Package p4rt speaks P4Runtime as a client: it turns a P4Info into names (Info), table entries and
// their kin into decoded, named values and back (Entry, Value), and a device into one connection
// (Client) or a session that wants to be primary (Session).
//
// It knows nothing of what the tables mean: the controller decides that, `sluice table` only prints.
// It never retries a write and never clears a table; whoever lost a connection reads the target back.
//
// Sections named in comments are of the P4Runtime specification, version 1.5.
package p4rt
