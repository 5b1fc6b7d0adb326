// The variables of a request that Python sees, and where else they are asked for.

#pragma once

#include <optional>
#include <string>

#include "nginx/ngx.hpp"

namespace owt {

// What the client calls this server, with the port if it says one: $owt_host. Of the Host header and the request's
// target the latter counts (RFC 9112, 3.2.2), and in HTTP/3 there is no other. Empty if it says nothing.
std::string host_of(ngx_http_request_t* request);

// As the guard sees it: nobody but a front comes to a unix socket, and says by X-Forwarded-Proto how it was asked.
bool is_https(ngx_http_request_t* request);

// The CGI variables (RFC 3875) that PEP 3333 asks for, NUL after each name and each value. HEAD is run as GET; nginx
// leaves the body out.
std::string environ_of(ngx_http_request_t* request, std::size_t body_size);

// The trace that the request belongs to, as its client says; nullopt if to none.
std::optional<std::string> trace_id_of(ngx_http_request_t* request);

}  // namespace owt
