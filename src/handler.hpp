// One request's life on the event loop.

#pragma once

#include "call.hpp"
#include "ngx.hpp"

namespace owt {

// The content handler of a location with `owt`.
ngx_int_t handle(ngx_http_request_t* request) noexcept;

// The call has news for the exchange that waits for it.
void advance(Call& call) noexcept;

// Variables: the call of this request, or null.
const Call* call_of(ngx_http_request_t* request);

}  // namespace owt
