// The directives owt_file, owt_root, owt_mcp and owt_keep, and what a request in such a location asks for.

#pragma once

#include <optional>

#include "call/call.hpp"
#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

char* set_owt_file(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_owt_root(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* set_owt_mcp(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
char* merge_published(ngx_conf_t* cf, LocationConf& outer, LocationConf& inner);

// Tells each instance what its servers publish; once these have been assigned.
void assign_publications(MainConf& main);

// Takes what the configuration says is called into the call. The problem is that there is no such function. To be
// called where the location publishes something.
std::optional<Problem> aim_call(ngx_http_request_t* request, Call::Asked& asked);

// Whether there is a function of such a name at all, before the request's body is read.
std::optional<Problem> check_aim(ngx_http_request_t* request);

}  // namespace owt
