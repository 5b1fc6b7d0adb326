// What the configuration says.

#pragma once

#include "ngx.hpp"
#include "pool.hpp"

namespace owt {

struct MainConf {
    Settings* settings;  // of the ordinary workers: owt_instance default
    bool instance_seen;
    bool used;            // some location has owt
    ngx_path_t* sources;  // owt_dir
};

struct LocationConf {
    ngx_flag_t traceback;
    ngx_msec_t timeout;  // 0: off
    std::size_t stream_buffer;
};

inline const LocationConf& location_conf(ngx_http_request_t* request) {
    return *static_cast<LocationConf*>(ngx_http_get_module_loc_conf(request, ngx_http_owt_module));
}

}  // namespace owt
