// Which view of owt_status a request asks for.

#pragma once

#include <string_view>

#include "nginx/ngx.hpp"

namespace owt {

// What follows the location's own name, or the one view that the location has.
std::string_view view_of(ngx_http_request_t* request);

// Whether there is a process for each instance is no secret, and who balances a load sits elsewhere: the guard lets it
// be asked.
bool asks_for_health(ngx_http_request_t* request);

}  // namespace owt
