// One request's life on the event loop.

#pragma once

#include <optional>
#include <string>

#include "call/call.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// The content handler of a location with `owt`.
ngx_int_t handle(ngx_http_request_t* request) noexcept;

// Variables: the call of this request, or null; how it fared with the cache, if it asked for that.
const Call* call_of(ngx_http_request_t* request);
std::optional<std::string> cache_status_of(ngx_http_request_t* request);

}  // namespace owt
