package zerocopy

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("zerocopy", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("zerocopy", httpcaddyfile.Before, "file_server")
}

// parseCaddyfile parses the zerocopy directive. See UnmarshalCaddyfile for the
// syntax. Like file_server, it hides the Caddyfile from clients.
func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	if err := h.FinalizeUnmarshalCaddyfile(helper); err != nil {
		return nil, err
	}
	return h, nil
}

// UnmarshalCaddyfile reads the directive. Every option is that of file_server,
// read by file_server's own parser. Syntax:
//
//	zerocopy [<matcher>] [browse] {
//	    fs            <filesystem>
//	    root          <path>
//	    hide          <files...>
//	    index         <files...>
//	    browse        [<template_file>] {
//	        reveal_symlinks
//	        sort              <options...>
//	        file_limit        <limit>
//	        plain_time_format <layout>
//	    }
//	    precompressed [<formats...>]
//	    status        <status>
//	    etag_file_extensions <extensions...>
//	    disable_canonical_uris
//	    pass_thru
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.FileServer.UnmarshalCaddyfile(d)
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
