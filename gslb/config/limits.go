package config

import "time"

// What a configuration may hold. The global site selector that many come from takes 4,000 rules, 4,000 VIPs,
// 2,000 domain lists of 500 names and 60 source lists of 30 prefixes.
const (
	maxRegions     = 1000
	maxDataCenters = 1000
	maxOwners      = 10000
	maxSourceLists = 2000
	maxPrefixes    = 20000 // of a source list
	maxDomainLists = 10000
	maxDomains     = 2000 // names, and expressions, of a domain list
	maxExpressions = 1000 // of all domain lists together: a name that no node has is held against each
	maxKeepalives  = 20000
	maxAnswers     = 20000
	maxProbes      = 32 // keepalives of an answer
	maxServers     = 16 // of a name server answer, a forward, a SOA
	maxGroups      = 20000
	maxMembers     = 1000 // of a group
	maxRules       = 20000
	maxClauses     = 32 // of a rule
	maxCount       = 32 // addresses of a response
	maxZones       = 10000
	maxRecords     = 250000 // of a zone
	maxRRset       = 64000  // bytes, so that the message around it has at most 65535
	maxListen      = 64
	maxSecrets     = 16

	maxName         = 128 // bytes of an object's name
	maxExpression   = 512 // bytes
	maxInstructions = 4096
	maxFileSize     = 256 << 20
	maxCommunity    = 127 // bytes: what one byte of BER length holds

	maxWeight, defaultWeight        = 1000, 1
	maxOrder                        = 65535
	minThreshold, maxThreshold      = 2, 254
	defaultTTL, maxTTL              = 20, 604800
	defaultRecordTTL, maxRecordTTL  = 3600, 1<<31 - 1 // RFC 2181 section 8
	minUDPSize, maxUDPSize          = 512, 4096
	defaultUDPSize                  = 1232
	maxRetries, defaultRetries      = 10, 1
	maxSuccesses                    = 100
	defaultPrefix4, defaultPrefix6  = 32, 128
	subnetPrefix4, subnetPrefix6    = 24, 56 // what resolvers send as client subnet (RFC 7871 section 11.1)
	dnsPort, snmpPort               = 53, 161
	httpPort, httpsPort             = 80, 443
	minMaxWait, maxMaxWait          = 10 * time.Millisecond, 30 * time.Second
	defaultMaxWait                  = 2 * time.Second
	minInactivity, maxInactivity    = time.Second, 7 * 24 * time.Hour
	defaultInactivity               = time.Hour
	minCustom, maxCustom            = 100 * time.Millisecond, time.Hour
	minInterval, maxInterval        = 40 * time.Second, 255 * time.Second
	minSettle, maxSettle            = 100 * time.Millisecond, time.Hour
	defaultSettle                   = 10 * time.Second
	defaultMaxLoss                  = 20 // percent
	minTimeout, maxTimeout          = 20 * time.Second, 60 * time.Second
	maxResponse                     = time.Minute
	defaultResponse, defaultBackoff = 2 * time.Second, 2 * time.Second
)
