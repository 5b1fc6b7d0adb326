// Who may ask, in nginx's phases: the guard before access is checked and again before code runs, owt_auth among the
// access checks, and what every answer's head says to browsers.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// The directives owt_guard, owt_allow and owt_auth.
char* set_guard(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_allow(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_auth(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

// Joins a location's own rules, or its parent's, with what its server says.
char* merge_access(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner);

// Handlers and filter, and a warning for each address from which others could reach an unprotected location.
ngx_int_t init_access(ngx_conf_t* cf) noexcept;

// NGX_DECLINED lets the request pass; with anything else it has been answered and is to be finalized so.
ngx_int_t judge(ngx_http_request_t* request);

}  // namespace owt
