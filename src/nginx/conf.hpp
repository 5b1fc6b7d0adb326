// What the configuration says.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "call/pool.hpp"
#include "guard/auth.hpp"
#include "guard/guard.hpp"
#include "nginx/interpreter.hpp"
#include "nginx/ngx.hpp"
#include "nginx/scoreboard.hpp"
#include "nginx/zone.hpp"

namespace owt {

// A server with a location for this machine's users alone, or with one that is open to all.
struct Exposed {
    ngx_http_core_srv_conf_t* server;
    bool guarded;
};

// What owt_guard says.
enum class Guarding : std::uint8_t { unsaid, off, on, strict };

// What owt_allow says, and where it said so last.
struct Allowed {
    Rules rules;
    std::string place;
};

// What owt_cache says, and where.
struct CacheName {
    std::string name;
    std::string place;
};

struct ConsolePage;
struct LocationConf;

// A location that publishes functions.
struct Publishing {
    ngx_http_core_srv_conf_t* server;
    LocationConf* location;
};

// A set of worker processes: the ordinary ones, or those of an owt_instance.
struct Instance {
    std::string name;
    std::string place;          // of its block: file:line
    std::size_t processes = 1;  // that serve; of the ordinary workers nginx's worker_processes, once it is known
    std::size_t spare = 0;      // beside these, to step in for one
    std::size_t first_worker = 0;
    Settings settings;
    std::string python_place;   // of its python_home
    Interpreter python;         // if it hosts one
    bool served = false;        // some server is its
    bool hosts_python = false;  // some location of the ordinary workers' has owt; the others' always
    std::size_t number = 0;     // with the scoreboard, of what is counted for all of it
};

struct LocationConf;

// A location with calls, which are counted.
struct Located {
    ngx_http_core_srv_conf_t* server;
    LocationConf* location;
};

struct MainConf {
    std::vector<Instance>* instances;  // the first is the ordinary workers', "default"
    Scoreboard* board;                 // null if memory was short
    std::uint32_t generation;          // of this configuration, there
    bool used;                         // some location has owt
    ngx_path_t* sources;               // owt_dir
    std::vector<Exposed>* exposed;
    std::vector<Located>* located;
    std::vector<Zone*>* zones;  // of owt_zone
    std::vector<Publishing>* published;
    const ConsolePage* console;                    // null: no location shows it
    std::vector<std::string>* socket_directories;  // that were not there
};

struct ServerConf {
    bool owt;                 // some location has it
    ngx_str_t instance_name;  // empty: default
    std::string* place;       // that says so, file:line
    std::size_t instance;     // the index in MainConf
    std::size_t number;       // among the servers, from 1; 0 if it has a name
    bool shares_socket;       // with a server that has owt, or has it itself
};

// What owt_status shows.
enum class Showing : std::uint8_t { nothing, all, metrics, health };

struct LocationConf {
    ngx_http_handler_pt owt;  // the content handler of a location with owt, owt_file, owt_root, owt_mcp; else null
    bool runs_code;           // it has owt
    ngx_str_t name;           // of a location with one of these
    std::size_t number;       // with the scoreboard, of what is counted for it
    Showing status;
    // What it publishes; null: nothing.
    std::shared_ptr<const Publication>* published;
    std::string* published_at;  // file:line
    ngx_flag_t keep;
    ngx_flag_t console;    // it shows the console to browsers that bring no code
    ngx_flag_t traceback;  // as given, else unset
    ngx_msec_t timeout;    // 0: off
    std::size_t stream_buffer;
    ngx_msec_t keepalive;  // of streams of events; 0: none
    Guarding guard_given;  // here or further out
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

// By default those see it who have sent the code.
inline bool shows_traceback(const LocationConf& conf) {
    return conf.traceback != NGX_CONF_UNSET ? conf.traceback != 0 : conf.published == nullptr || conf.runs_code;
}

inline ServerConf* server_conf(const ngx_http_core_srv_conf_t* server) {
    return static_cast<ServerConf*>(server->ctx->srv_conf[ngx_http_owt_module.ctx_index]);
}

inline MainConf& main_conf(ngx_http_request_t* request) {
    return *static_cast<MainConf*>(ngx_http_get_module_main_conf(request, ngx_http_owt_module));
}

inline MainConf& main_conf(ngx_conf_t* cf) {
    return *static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_owt_module));
}

// Always NGX_CONF_ERROR: what is wrong with the directive that is being read.
inline char* fail(ngx_conf_t* cf, const std::string& why) {
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", begin_of<ngx_str_t>(*cf->args), why.c_str());
    return static_cast<char*>(NGX_CONF_ERROR);
}

// Always NGX_ERROR: what is wrong with one that was read before, at that place.
inline ngx_int_t fail(ngx_conf_t* cf, const std::string& why, const std::string& place) {
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %s", why.c_str(), place.c_str());
    return NGX_ERROR;
}

}  // namespace owt
