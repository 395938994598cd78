//lint:file-ignore SA1019 Fields that the specification deprecates are still in force.

package server

import v1 "github.com/p4lang/p4runtime/go/p4/v1"

// Numbers of roles came before names; they are refused, lest they be read as the default role.
func roleNumber(m interface{ GetRoleId() uint64 }) uint64 { return m.GetRoleId() }

func arbitratedRoleNumber(r *v1.Role) uint64 { return r.GetId() }

// controller_metadata came before metadata, and is kept beside it.
func cookie(e *v1.TableEntry) uint64 { return e.GetControllerMetadata() }

func setCookie(e *v1.TableEntry, cookie uint64) { e.ControllerMetadata = cookie }

// egress_port came before port; a client that writes it reads it.
func egressPort(r *v1.Replica) (port uint32, ok bool) {
	_, ok = r.GetPortKind().(*v1.Replica_EgressPort)
	return r.GetEgressPort(), ok
}

func setEgressPort(r *v1.Replica, port uint32) {
	r.PortKind = &v1.Replica_EgressPort{EgressPort: port}
}
