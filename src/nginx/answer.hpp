// Heads and whole answers in nginx's terms.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "call/call.hpp"
#include "call/problem.hpp"
#include "nginx/headers.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// The first of that name; empty if there is none.
std::string_view find_header(ngx_list_t& list, std::string_view name);

// Those that return bool or a null pointer say so that memory is short.
ngx_table_elt_t* add_header(ngx_http_request_t* request, std::string_view name, std::string_view value);
bool set_content_type(ngx_http_request_t* request, std::string_view type);
// Puts an adaptor's header where nginx's filters look for it. What nginx says itself is passed over.
bool set_header(ngx_http_request_t* request, std::string_view name, std::string_view value);

// What ngx_http_send_header() returned allows a body to follow.
bool may_send_body(ngx_http_request_t* request, ngx_int_t rc);

// The whole of a body behind a head that has been sent; it has to live as long as the request.
ngx_int_t send_body(ngx_http_request_t* request, std::string_view body);

// Each sends a complete answer and returns what the request is to be finalized with.
ngx_int_t send_whole(ngx_http_request_t* request, int status, std::string_view type, std::string_view body);
// headers: what goes with it, the type included.
ngx_int_t send_page(ngx_http_request_t* request, std::span<const std::pair<std::string_view, std::string_view>> headers,
                    std::string_view body);
// allow: what goes with a 405.
ngx_int_t send_problem(ngx_http_request_t* request, const Problem& problem, std::string_view allow = "GET, HEAD, POST");

}  // namespace owt
