// owt_status: what runs, in all processes, for people, monitors and balancers; and a word to end it. Rendered by
// whichever process is asked, from the scoreboard alone, so that one whose Python is stuck can be seen, and can show
// the others.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

constexpr const char* both_owt_and_status = "the location has both owt and owt_status: give each its own";

// owt_status [metrics | health];
char* set_status(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// An if block in such a location shows what that does.
void merge_status(ngx_conf_t* cf, const LocationConf& outer, LocationConf& inner);
// The content handler.
ngx_int_t show_status(ngx_http_request_t* request) noexcept;

}  // namespace owt
