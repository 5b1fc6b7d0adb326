// A body that a proxy has begun to read without buffering, and for which a location with owt stands in (error_page).

#pragma once

#include "nginx/ngx.hpp"

namespace owt {

// Reads on what has come of the rest, into a temporary file as nginx does with a large body. NGX_OK: all of it is in
// the request; NGX_AGAIN: more is to come, and the next event that reads has to call this again; else the status with
// which the request ends.
ngx_int_t read_late_body(ngx_http_request_t* request);

}  // namespace owt
