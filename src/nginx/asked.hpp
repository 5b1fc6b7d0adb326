// What a request asks for, in a call's terms: its body and its parameters.

#pragma once

#include <optional>
#include <string>

#include "call/call.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// False if something of a body that has come is in none of nginx's buffers any more, as after a proxy that has passed
// it on without buffering.
bool body_is_whole(ngx_http_request_t* request);

// Copies a body in memory, shares the file of one that nginx has spooled. The body's size, or nullopt.
std::optional<std::size_t> take_body(ngx_http_request_t* request, Call::Asked& asked);

// Has nginx use the call's copy of a body in memory, and lets go of nginx's own. The call has to live as long as the
// request, and nobody else may have seen the body before. False if memory is short.
bool share_body(ngx_http_request_t* request, const Call::Asked& asked);

// Reads the parameters where that costs the loop nothing to speak of: a large or spooled body is read by a Python
// thread. The problem is why there can be no call.
// Whether a header says that it wants to be told what becomes of the call: Prefer: events (RFC 7240).
bool prefers_events(ngx_http_request_t* request);

std::optional<Problem> read_params(ngx_http_request_t* request, Call::Asked& asked);

// Adds what the key of a call (key.hpp) needs beside its parameters; false if only a Python thread can.
bool complete_key(Call::Asked& asked);

// The SHA-256 of the code that a request names, wherever it goes: for a proxied one, $owt_code_id. In a large body only
// its beginning is looked at. Empty where it names none, or in a multipart form; nullopt as long as its body has not
// been read.
std::optional<std::string> code_id_of(ngx_http_request_t* request);

}  // namespace owt
