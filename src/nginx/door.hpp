// To listen on a socket or not to: what nginx does once, at a worker's start and at its end, several times.

#pragma once

#include "nginx/ngx.hpp"

namespace owt {

// Whether this process accepts there at all: it is neither another instance's nor another worker's.
bool is_own(const ngx_listening_t& listening);

// As ngx_event_process_init() does it.
void start_listening(ngx_listening_t& listening);
void stop_listening(ngx_listening_t& listening);

}  // namespace owt
