// What an exchange passes on to the client, and its end.

#pragma once

#include "nginx/exchange.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// That of a request; null if it has none.
Exchange* exchange_of(ngx_http_request_t* request);

void stop_timer(Exchange& exchange);
void start_timer(Exchange& exchange, Exchange::Due due, ngx_msec_t after);
// The time begins anew in which the call has to give output.
void restart_timer(Exchange& exchange);
// A stream of events that is silent for too long gets a comment: proxies and clients give up what seems to be dead.
void start_silence(Exchange& exchange);

// From here on neither side knows the other; a call that still runs is cancelled.
void detach(Exchange& exchange, ngx_int_t rc);
// Ends it. This may free the request's pool and the exchange with it: touch neither after.
void finalize(Exchange& exchange, ngx_int_t rc);
// The client must see that the answer is not complete.
void abort(Exchange& exchange);

// The client has yet to take what was sent: pieces of ours, or what filters (gzip) and nginx have made of them.
bool waits_for_client(const Exchange& exchange);
// Passes on what there is and says what became of it. False if the exchange is over.
bool pass(Exchange& exchange, ngx_chain_t* out);

}  // namespace owt
