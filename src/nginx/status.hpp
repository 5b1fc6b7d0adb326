// owt_status: what runs, in all processes, for people, monitors and balancers; and a word to end it. Rendered by
// whichever process is asked, from the scoreboard alone, so that one whose Python is stuck can be seen, and can show
// the others.

#pragma once

#include "nginx/ngx.hpp"

namespace owt {

constexpr const char* both_owt_and_status = "the location has both owt and owt_status: give each its own";

// owt_status [metrics | health];
char* set_status(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// The content handler.
ngx_int_t show_status(ngx_http_request_t* request) noexcept;
// Whether there is a process for each instance is no secret, and who balances a load sits elsewhere: the guard lets it
// be asked.
bool asks_for_health(ngx_http_request_t* request);

}  // namespace owt
