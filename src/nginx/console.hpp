// owt_console: whoever opens a location with owt in a browser, and brings no code, gets a page to write some. nginx has
// read it with its configuration, so that it is there whatever Python does.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// By default on where a location runs what requests carry.
void merge_console(const LocationConf& outer, LocationConf& inner);
// Reads the page if some location shows it. Once it is known which do.
ngx_int_t init_console(ngx_conf_t* cf) noexcept;

// For a request that the guard has let pass.
bool wants_console(ngx_http_request_t* request);
ngx_int_t send_console(ngx_http_request_t* request);

}  // namespace owt
