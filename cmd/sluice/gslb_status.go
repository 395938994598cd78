package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/gslb/control"
)

var gslbStatusCommand = &cli.Command{
	Name:  "status",
	Usage: "show data centers, answers with their health, rules and zones",
	Description: "--answer, --data-center, --region and --owner choose answers, and the rules that lead to them.\n" +
		"With --json prints one sluice.gslb.v1.GetStatusResponse.",
	Flags:  slices.Concat(socketFlags(), []cli.Flag{jsonFlag()}, selectorFlags("show")),
	Action: action(gslbStatus),
}

func gslbStatus(c *cli.Context, _ []string) error {
	return withGSLB(c, func(ctx context.Context, client *control.Client) error {
		m, err := client.GetStatus(ctx, &control.GetStatusRequest{Selector: selector(c)})
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return writeJSON(c.App.Writer, jsonMessage{m})
		}
		return writeGSLBStatus(c.App.Writer, m)
	})
}

// writeGSLBStatus prints one section for each kind of thing; those without content are left out.
func writeGSLBStatus(w io.Writer, m *control.GetStatusResponse) error {
	now := m.Time.AsTime()
	fmt.Fprintf(w, "configuration  %s, loaded %s\n", oneLine(m.ConfigFile), ago(now, m.ConfigLoadedAt))
	fmt.Fprintf(w, "listens        %s\n", oneLine(strings.Join(m.Listeners, ", ")))
	if m.ConfigError != "" {
		fmt.Fprintf(w, "NOT RUNNING    the file as it is now; what ran before runs on:\n%s\n",
			firstLines(m.ConfigError))
	}
	for _, list := range []struct {
		title  string
		counts []*control.Count
	}{{"responses", m.Responses}, {"dropped", m.Dropped}} {
		if text := countWords(list.counts); text != "" {
			fmt.Fprintf(w, "%-14s %s\n", list.title, oneLine(text))
		}
	}
	for _, s := range []section{
		{gslbDataCenterTable(m, now), nil},
		{gslbAnswerTable(m, now), nil},
		{gslbRuleTable(m), nil},
		{gslbZoneTable(m), nil},
	} {
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

func countWords(list []*control.Count) string {
	var words []string
	for _, c := range list {
		if c.Count > 0 {
			words = append(words, fmt.Sprintf("%s %d", c.Name, c.Count))
		}
	}
	return strings.Join(words, ", ")
}

func gslbDataCenterTable(m *control.GetStatusResponse, now time.Time) *textTable {
	t := newTextTable("DATA CENTER", "REGION", "ANSWERS", "UP", "CONTROLLER", "STATE", "SINCE", "ERROR")
	for _, d := range m.DataCenters {
		state := ""
		switch {
		case d.Controller != "" && d.Connected:
			state = "connected"
		case d.Controller != "":
			state = "not connected"
		}
		t.row(d.Name, d.Region, fmt.Sprint(d.Answers), fmt.Sprint(d.AnswersUp), d.Controller, state, ago(now, d.Since),
			oneLine(d.Error))
	}
	return t
}

func gslbAnswerTable(m *control.GetStatusResponse, now time.Time) *textTable {
	t := newTextTable("ANSWER", "KIND", "VALUE", "DATA CENTER", "OWNER", "STATE", "SINCE", "LOAD", "PICKED", "REASON")
	for _, a := range m.Answers {
		load := ""
		if a.HasLoad {
			load = fmt.Sprint(a.Load)
		}
		t.row(a.Name, a.Kind, strings.Join(a.Values, " "), a.DataCenter, a.Owner, stateWord(a.State), ago(now, a.Since),
			load,
			fmt.Sprint(a.Picked), oneLine(a.Reason))
	}
	return t
}

func gslbRuleTable(m *control.GetStatusResponse) *textTable {
	t := newTextTable("RULE", "OWNER", "SOURCES", "DOMAINS", "TTL", "QUERIES",
		"CLAUSES (GROUP METHOD LIVE/ALL ANSWERED)")
	for _, r := range m.Rules {
		var clauses []string
		for _, c := range r.Clauses {
			clauses = append(clauses, fmt.Sprintf("%s %s %d/%d %d", c.Group, c.Balance, c.Live, c.Answers, c.Answered))
		}
		name := r.Name
		if r.Suspended {
			name += " (suspended)"
		}
		t.row(name, r.Owner, r.Sources, r.DomainList, fmt.Sprint(r.Ttl), fmt.Sprint(r.Queries),
			strings.Join(clauses, "; "))
	}
	return t
}

func gslbZoneTable(m *control.GetStatusResponse) *textTable {
	t := newTextTable("ZONE", "RECORDS", "AUTHORITY", "SOA", "ERROR")
	for _, z := range m.Zones {
		authority := "balanced names only"
		if z.Whole {
			authority = "whole"
		}
		t.row(z.Name, fmt.Sprint(z.Records), authority, z.Soa, oneLine(z.Error))
	}
	return t
}

// gslbNameTable lists names with the answers that they lead to now, and may.
func gslbNameTable(m *control.GetStatusResponse) *textTable {
	states := make(map[string]string)
	for _, a := range m.Answers {
		states[a.Name] = stateWord(a.State)
	}
	t := newTextTable("NAME", "RULE", "SOURCES", "CLAUSE", "GROUP", "METHOD", "ANSWERS")
	for _, r := range m.Rules {
		domains := r.Domains
		if more := int(r.DomainsTotal) - len(domains); more > 0 {
			domains = append(domains, fmt.Sprintf("and %d more", more))
		}
		for _, name := range domains {
			for i, c := range r.Clauses {
				var answers []string
				for _, a := range c.Members {
					if state, ok := states[a]; ok {
						answers = append(answers, a+" "+state)
					}
				}
				if len(answers) == 0 { // none of those that were asked for
					continue
				}
				t.row(name, r.Name, r.Sources, fmt.Sprint(i+1), c.Group, c.Balance, strings.Join(answers, ", "))
			}
		}
	}
	return t
}
