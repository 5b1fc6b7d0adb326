// What a request asks for, in a call's terms: its body, its parameters, and the variables that Python sees.

#pragma once

#include <optional>
#include <string>

#include "call/call.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// Copies a body in memory, shares the file of one that nginx has spooled. The body's size, or nullopt.
std::optional<std::size_t> take_body(ngx_http_request_t* request, Call::Asked& asked);

// Reads the parameters where that costs the loop nothing to speak of; a spooled body is read by a Python thread.
Complaint read_params(ngx_http_request_t* request, Call::Asked& asked);

// Adds what the key of a call (key.hpp) needs beside its parameters; false if only a Python thread can.
bool complete_key(Call::Asked& asked);

// The CGI variables (RFC 3875) that PEP 3333 asks for. HEAD is run as GET; nginx leaves the body out.
std::string environ_of(ngx_http_request_t* request, std::size_t body_size);

// The SHA-256 of the code that a request names, wherever it goes: for a proxied one, $owt_code_id. Empty where it names
// none, or in a multipart form; nullopt as long as its body has not been read.
std::optional<std::string> code_id_of(ngx_http_request_t* request);

}  // namespace owt
