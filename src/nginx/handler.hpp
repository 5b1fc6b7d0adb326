// One request's life on the event loop.

#pragma once

#include "call/call.hpp"
#include "nginx/cache.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// The content handler of a location with `owt`.
ngx_int_t handle(ngx_http_request_t* request) noexcept;

// The call has news for the exchange that waits for it.
void advance(Call& call) noexcept;

// A call that waited for another's result has it, or (null) is to run.
void resume(Exchange& exchange, KeptPtr kept) noexcept;

// Variables: the call of this request, or null; how it fared with the cache, if it asked for that.
const Call* call_of(ngx_http_request_t* request);
std::optional<std::string> cache_status_of(ngx_http_request_t* request);

}  // namespace owt
