// What a request asks for in a location that publishes something.

#pragma once

#include <optional>

#include "call/call.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// Takes what the configuration says is called into the call. The problem is that there is no such function. To be
// called where the location publishes something.
std::optional<Problem> aim_call(ngx_http_request_t* request, Call::Asked& asked);

// Whether there may be a function of such a name at all, before the request's body is read.
std::optional<Problem> check_aim(ngx_http_request_t* request);

}  // namespace owt
