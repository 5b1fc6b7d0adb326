// The turns of the loop in which an exchange goes on.

#pragma once

#include <exception>

#include "nginx/exchange.hpp"
#include "nginx/ngx.hpp"
#include "nginx/passing.hpp"

namespace owt {

// From here on the worker is held for it, and its call knows it. False if memory is short.
bool attach(Exchange& exchange);
// False if the exchange is over.
bool go(Exchange& exchange, Caching::Step step);
// After anything that was sent: who is to wake the exchange next, and by when.
void arm(Exchange& exchange, bool output = true);

// Nothing may be thrown into nginx: what is, ends the exchange.
template <typename Work>
void guarded(Exchange& exchange, Work work) noexcept {
    ngx_log_t* log = exchange.request->connection->log;
    try {
        work();
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "owt: %s", error.what());
        finalize(exchange, NGX_ERROR);
    }
}

}  // namespace owt
