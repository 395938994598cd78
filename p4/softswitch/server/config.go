package server

import (
	"context"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// SetForwardingPipelineConfig implements v1.P4RuntimeServer.
func (s *Server) SetForwardingPipelineConfig(_ context.Context, req *v1.SetForwardingPipelineConfigRequest) (
	*v1.SetForwardingPipelineConfigResponse, error) {
	if err := s.checkConfigWriter(req); err != nil {
		return nil, err
	}
	var next *pipeline
	switch req.GetAction() {
	case v1.SetForwardingPipelineConfigRequest_VERIFY,
		v1.SetForwardingPipelineConfigRequest_VERIFY_AND_SAVE,
		v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT:
		if req.GetConfig() == nil {
			return nil, invalid("%v needs a config", req.GetAction())
		}
		var err error
		if next, err = newPipeline(req.GetConfig(), s.cfg.CPUPort, s.digestsDue); err != nil {
			return nil, invalid("config: %v", err)
		}
	case v1.SetForwardingPipelineConfigRequest_COMMIT:
		if req.GetConfig() != nil {
			return nil, invalid("COMMIT takes no config: it commits the saved one")
		}
	case v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT:
		return nil, unimplemented("RECONCILE_AND_COMMIT: read the entries, VERIFY_AND_COMMIT, and write them")
	default:
		return nil, invalid("action %v is not one of VERIFY, VERIFY_AND_SAVE, VERIFY_AND_COMMIT, COMMIT",
			req.GetAction())
	}
	s.state.Lock()
	defer s.state.Unlock()
	// Compiling took its time: somebody else may be primary now.
	if err := s.checkConfigWriter(req); err != nil {
		return nil, err
	}
	switch req.GetAction() {
	case v1.SetForwardingPipelineConfigRequest_VERIFY_AND_SAVE:
		// Writes go to the saved pipeline, which no packet sees yet; COMMIT has nothing to replay.
		s.current, s.saved = next, true
	case v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT:
		s.current = next
		s.commit()
	case v1.SetForwardingPipelineConfigRequest_COMMIT:
		if !s.saved {
			return nil, status.Error(codes.NotFound, "no saved config to commit")
		}
		s.commit()
	}
	return &v1.SetForwardingPipelineConfigResponse{}, nil
}

// commit makes current the pipeline that packets run through. state is locked.
func (s *Server) commit() {
	s.saved = false
	s.running.Store(s.current)
	s.cfg.Plane.Commit(s.current.program)
	s.current.digests.poke()
	s.cfg.Log.Info("pipeline committed", "cookie", s.current.config.GetCookie().GetCookie(), "tables",
		len(s.current.tables))
	if len(s.current.unmet) > 0 {
		s.cfg.Log.Warn("the P4Info has what no packet meets: it is kept, and does nothing", "names", s.current.unmet)
	}
}

func (s *Server) checkConfigWriter(req *v1.SetForwardingPipelineConfigRequest) error {
	if err := s.checkDevice(req.GetDeviceId()); err != nil {
		return err
	}
	return s.arbiter.check(req.GetRole(), roleNumber(req), req.GetElectionId())
}

// GetForwardingPipelineConfig implements v1.P4RuntimeServer.
func (s *Server) GetForwardingPipelineConfig(_ context.Context, req *v1.GetForwardingPipelineConfigRequest) (
	*v1.GetForwardingPipelineConfigResponse, error) {
	if err := s.checkDevice(req.GetDeviceId()); err != nil {
		return nil, err
	}
	s.state.RLock()
	p := s.current
	s.state.RUnlock()
	if p == nil {
		return &v1.GetForwardingPipelineConfigResponse{}, nil
	}
	out := &v1.ForwardingPipelineConfig{Cookie: p.config.GetCookie()}
	switch req.GetResponseType() {
	case v1.GetForwardingPipelineConfigRequest_ALL:
		out.P4Info, out.P4DeviceConfig = p.config.GetP4Info(), p.config.GetP4DeviceConfig()
	case v1.GetForwardingPipelineConfigRequest_COOKIE_ONLY:
	case v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE:
		out.P4Info = p.config.GetP4Info()
	case v1.GetForwardingPipelineConfigRequest_DEVICE_CONFIG_AND_COOKIE:
		out.P4DeviceConfig = p.config.GetP4DeviceConfig()
	default:
		return nil, invalid("response_type %v is not one of ALL, COOKIE_ONLY, P4INFO_AND_COOKIE, "+
			"DEVICE_CONFIG_AND_COOKIE", req.GetResponseType())
	}
	return &v1.GetForwardingPipelineConfigResponse{Config: out}, nil
}
