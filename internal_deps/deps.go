// Package internal_deps keeps modules in go.mod until their first use lands.
package internal_deps

import (
	_ "github.com/dchest/siphash"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/gosnmp/gosnmp"
	_ "github.com/miekg/dns"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
)
