// What goes out for an exchange, in nginx's terms: heads, streams piece by piece, files, kept results. Nothing here
// ends the exchange.

#pragma once

#include <optional>
#include <string>

#include "call/call.hpp"
#include "nginx/exchange.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// Server-Timing, and what the cache has to say. False if memory is short.
bool set_report(Exchange& exchange);

// What is shorter than the length that it declares must not be taken for complete; what is longer, for the beginning of
// the connection's next answer.
void keep_to_length(Exchange& exchange, Batch& batch);

// Each gives what nginx's filters gave.
ngx_int_t send_head(Exchange& exchange, const Batch& batch);
// Of one that is told in events.
ngx_int_t send_head_of_events(Exchange& exchange);
ngx_int_t send_file(Exchange& exchange, Batch& batch);
// A result that was kept, or that another call has just brought.
ngx_int_t send_kept(ngx_http_request_t* request, Caching& caching);

// The answer of a file begins as nginx's types have its name. False if memory is short.
bool type_file(Exchange& exchange, Batch& batch);
// What is kept, as a call's answer that has just come; nullopt if it has been forgotten.
std::optional<Batch> kept_batch(Exchange& exchange);

// The pieces of a batch as nginx's buffers; sets out. False if memory is short.
bool make_chain(Exchange& exchange, Batch& batch, ngx_chain_t*& out);
// After they were passed on: lets go of the pieces that nginx is done with, and says how many bytes they had.
std::size_t settle(Exchange& exchange, ngx_chain_t* out);

}  // namespace owt
