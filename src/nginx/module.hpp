// What the configuration says.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guard/auth.hpp"
#include "guard/guard.hpp"
#include "nginx/instance.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// A server with a location for this machine's users alone, or with one that is open to all.
struct Exposed {
    ngx_http_core_srv_conf_t* server;
    bool guarded;
};

// What owt_allow says, and where it said so last.
struct Allowed {
    Rules rules;
    std::string place;
};

class Zone;

// What owt_cache says, and where.
struct CacheName {
    std::string name;
    std::string place;
};

struct MainConf {
    std::vector<Instance>* instances;  // the first is the ordinary workers', "default"
    std::size_t ordinary_workers;      // nginx's worker_processes, as configured
    std::uint32_t* starts;             // of each worker since it was last ready; in memory that they inherit
    bool used;                         // some location has owt
    ngx_path_t* sources;               // owt_dir
    std::vector<Exposed>* exposed;
    std::vector<Zone*>* zones;  // of owt_zone
};

struct ServerConf {
    bool owt;                 // some location has it
    ngx_str_t instance_name;  // empty: default
    std::string* place;       // that says so, file:line
    std::size_t instance;     // the index in MainConf
    std::size_t number;       // among the servers, from 1; 0 if it has a name
    bool shares_socket;       // with a server that has owt, or has it itself
};

struct LocationConf {
    bool owt;
    ngx_flag_t traceback;
    ngx_msec_t timeout;  // 0: off
    std::size_t stream_buffer;
    ngx_flag_t guard_given;  // owt_guard here or further out, else unset
    bool guard;
    Allowed* allowed;  // by owt_allow, here or further out
    Rules* rules;      // with guard: all that it goes by
    Logins* logins;    // of owt_auth; null: none needed
    CacheName* cache;
    std::size_t cache_max;  // as given, else unset
    Zone* zone;             // of owt_cache; null: off
    std::size_t limit;      // with zone: a larger result is not kept
};

inline const LocationConf& location_conf(ngx_http_request_t* request) {
    return *static_cast<LocationConf*>(ngx_http_get_module_loc_conf(request, ngx_http_owt_module));
}

struct Exchange;

// What the module keeps with a request, until nginx redirects it.
struct RequestState {
    const Rules* judged_by = nullptr;  // whose guard has let it pass
    Verdict verdict;
    Exchange* exchange = nullptr;
    std::optional<std::string> code_id;  // where the request goes elsewhere
};

inline RequestState* find_state(ngx_http_request_t* request) {
    return static_cast<RequestState*>(ngx_http_get_module_ctx(request, ngx_http_owt_module));
}

// Null if memory is short.
inline RequestState* ensure_state(ngx_http_request_t* request) {
    RequestState* state = find_state(request);
    if (state == nullptr) {
        state = make_in_pool<RequestState>(request->pool);
        ngx_http_set_ctx(request, state, ngx_http_owt_module);
    }
    return state;
}

}  // namespace owt
