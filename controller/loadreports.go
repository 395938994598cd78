package controller

import (
	"github.com/sluicelb/sluice/internal/loadreport"
)

// listenLoadReports opens the socket for load reports, if there is to be one.
func (c *Controller) listenLoadReports() (*loadreport.Server, error) {
	if c.cfg.LoadReport == "" {
		return nil, nil
	}
	keys, err := loadreport.ReadKeys(c.cfg.LoadReportKeys)
	if err != nil {
		return nil, err
	}
	return loadreport.Listen(loadreport.Config{Listen: c.cfg.LoadReport, Keys: keys, Log: c.log})
}

// reloadLoadReportKeys lets the keys of load reports be changed while the controller runs.
func (c *Controller) reloadLoadReportKeys() {
	c.mu.Lock()
	reports := c.loadReports
	c.mu.Unlock()
	if reports == nil {
		return
	}
	keys, err := loadreport.ReadKeys(c.cfg.LoadReportKeys)
	if err == nil {
		err = reports.SetKeys(keys)
	}
	if err != nil {
		c.log.Error("the load report keys are refused, those before stay", "err", err)
		return
	}
	c.log.Info("the load report keys were read", "keys", len(keys))
}

// answerLoadReport answers one item. Any goroutine may call it.
func (l *loop) answerLoadReport(item loadreport.Item) loadreport.Report {
	states, _ := l.vips.get()
	return states.loadReport(item)
}
