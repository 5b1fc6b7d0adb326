// What nginx sees of owt: directives, configuration, variables, and where processes start and end.

#include "nginx/conf.hpp"

#include <array>
#include <cstdio>

#include "nginx/access.hpp"
#include "nginx/asked.hpp"
#include "nginx/cache.hpp"
#include "nginx/console.hpp"
#include "nginx/environ.hpp"
#include "nginx/handler.hpp"
#include "nginx/instance.hpp"
#include "nginx/publish.hpp"
#include "nginx/signals.hpp"
#include "nginx/sockets.hpp"
#include "nginx/state.hpp"
#include "nginx/status.hpp"
#include "nginx/succession.hpp"
#include "nginx/worker.hpp"

namespace owt {

namespace {

char* set_owt(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& location = *static_cast<LocationConf*>(conf);
    if (location.published != nullptr && (**location.published).kind != Publication::Kind::tools) {
        return fail(cf, "the location has owt_file or owt_root already: give each its own");
    }
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (static_cast<LocationConf*>(conf)->status != Showing::nothing) {
        return fail(cf, both_owt_and_status);
    }
    core->handler = handle;
    location.owt = handle;
    location.runs_code = true;
    main_conf(cf).used = true;
    static_cast<ServerConf*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_owt_module))->owt = true;
    return NGX_CONF_OK;
}

char* set_timeout(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto* location = static_cast<LocationConf*>(conf);
    auto* values = static_cast<ngx_str_t*>(cf->args->elts);
    if (location->timeout != NGX_CONF_UNSET_MSEC) {
        return const_cast<char*>("is duplicate");
    }
    if (to_view(values[1]) == "off") {
        location->timeout = 0;
        return NGX_CONF_OK;
    }
    ngx_int_t time = ngx_parse_time(&values[1], 0);
    if (time == NGX_ERROR || time == 0) {
        return const_cast<char*>("wants a time, as in \"owt_timeout 30s;\", or \"off\"");
    }
    location->timeout = static_cast<ngx_msec_t>(time);
    return NGX_CONF_OK;
}

// --- Configuration.

void* create_main_conf(ngx_conf_t* cf) noexcept {
    auto* main = static_cast<MainConf*>(ngx_pcalloc(cf->pool, sizeof(MainConf)));
    if (main == nullptr) {
        return nullptr;
    }
    main->instances = make_in_pool<std::vector<Instance>>(cf->pool, 1);
    main->exposed = make_in_pool<std::vector<Exposed>>(cf->pool);
    main->zones = make_in_pool<std::vector<Zone*>>(cf->pool);
    main->published = make_in_pool<std::vector<Publishing>>(cf->pool);
    main->located = make_in_pool<std::vector<Located>>(cf->pool);
    main->socket_directories = make_in_pool<std::vector<std::string>>(cf->pool);
    if (main->instances == nullptr || main->exposed == nullptr || main->zones == nullptr ||
        main->published == nullptr || main->located == nullptr || main->socket_directories == nullptr) {
        return nullptr;
    }
    main->instances->front().name = "default";
    return main;
}

char* init_main_conf(ngx_conf_t* cf, void* conf) noexcept {
    auto& main = *static_cast<MainConf*>(conf);
    if (!main.used && main.instances->size() == 1) {
        return NGX_CONF_OK;
    }
    if (main.sources == nullptr) {
        main.sources = static_cast<ngx_path_t*>(ngx_pcalloc(cf->pool, sizeof(ngx_path_t)));
        if (main.sources == nullptr) {
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        main.sources->name = ngx_string("owt_temp");
        if (ngx_conf_full_name(cf->cycle, &main.sources->name, 0) != NGX_OK ||
            ngx_add_path(cf, &main.sources) != NGX_OK) {
            return static_cast<char*>(NGX_CONF_ERROR);
        }
    }
    for (Instance& instance : *main.instances) {
        instance.settings.sources = to_view(main.sources->name);
    }
    return NGX_CONF_OK;
}

void* create_server_conf(ngx_conf_t* cf) noexcept {
    auto* conf = static_cast<ServerConf*>(ngx_pcalloc(cf->pool, sizeof(ServerConf)));
    if (conf == nullptr) {
        return nullptr;
    }
    conf->place = make_in_pool<std::string>(cf->pool);
    return conf->place != nullptr ? conf : nullptr;
}

void* create_location_conf(ngx_conf_t* cf) noexcept {
    auto* conf = static_cast<LocationConf*>(ngx_pcalloc(cf->pool, sizeof(LocationConf)));
    if (conf != nullptr) {
        conf->keep = NGX_CONF_UNSET;
        conf->console = NGX_CONF_UNSET;
        conf->traceback = NGX_CONF_UNSET;
        conf->timeout = NGX_CONF_UNSET_MSEC;
        conf->stream_buffer = NGX_CONF_UNSET_SIZE;
        conf->keepalive = NGX_CONF_UNSET_MSEC;
        conf->allowed = static_cast<Allowed*>(NGX_CONF_UNSET_PTR);
        conf->logins = static_cast<Logins*>(NGX_CONF_UNSET_PTR);
        conf->cache = static_cast<CacheName*>(NGX_CONF_UNSET_PTR);
        conf->cache_max = NGX_CONF_UNSET_SIZE;
    }
    return conf;
}

char* merge_location_conf(ngx_conf_t* cf, void* parent, void* child) noexcept {
    auto& outer = *static_cast<LocationConf*>(parent);
    auto& inner = *static_cast<LocationConf*>(child);
    if (inner.traceback == NGX_CONF_UNSET) {
        inner.traceback = outer.traceback;
    }
    ngx_conf_merge_msec_value(inner.timeout, outer.timeout, 0);
    ngx_conf_merge_size_value(inner.stream_buffer, outer.stream_buffer, 1024 * 1024);
    ngx_conf_merge_msec_value(inner.keepalive, outer.keepalive, 15000);
    merge_status(cf, outer, inner);
    try {
        char* result = merge_cache(cf, outer, inner);
        if (result == NGX_CONF_OK) {
            result = merge_published(cf, outer, inner);
        }
        merge_console(outer, inner);
        return result == NGX_CONF_OK ? merge_access(cf, outer, inner) : result;
    } catch (const std::exception& error) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", error.what());
        return static_cast<char*>(NGX_CONF_ERROR);
    }
}

// --- Variables.

enum Variable : uintptr_t { code_id, function, queue_time, run_time, cache_status, host, trace_id };

// Found out once: the body is read but for a while, and this takes its time.
std::optional<std::string> proxied_code_id(ngx_http_request_t* request) {
    RequestState* state = ensure_state(request);
    if (state == nullptr || location_conf(request).owt != nullptr) {
        return std::nullopt;
    }
    if (!state->code_id) {
        state->code_id = code_id_of(request);
    }
    return state->code_id;
}

std::string seconds_text(double value) {
    std::array<char, 32> text;
    int n = std::snprintf(text.data(), text.size(), "%.6f", value);
    return {text.data(), static_cast<std::size_t>(n)};
}

// nullopt: there is no such thing, or not yet.
std::optional<std::string> text_of(Variable variable, ngx_http_request_t* request) {
    if (variable == host) {
        return host_of(request);
    }
    if (variable == trace_id) {
        return trace_id_of(request);
    }
    const Call* call = call_of(request);
    if (call == nullptr) {
        return variable == code_id ? proxied_code_id(request) : std::nullopt;
    }
    if (variable == cache_status) {
        return cache_status_of(request);
    }
    // Parameters that a Python thread reads may be looked at when it has answered.
    if (!call->asked.parsed && !call->answered()) {
        return std::nullopt;
    }
    switch (variable) {
        case code_id:
            return call->asked.params.published ? std::string() : call->asked.params.code_id;
        case function:
            return call->asked.params.fn_name;
        case queue_time:
            return seconds_text(call->timing().queue);
        default:
            return seconds_text(call->timing().run);
    }
}

ngx_int_t get_variable(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t data) noexcept {
    try {
        auto text = text_of(static_cast<Variable>(data), request);
        if (!text) {
            value->not_found = 1;
            return NGX_OK;
        }
        ngx_str_t copy = to_ngx_str(request->pool, *text);
        if (copy.data == nullptr) {
            return NGX_ERROR;
        }
        value->data = copy.data;
        value->len = static_cast<unsigned>(copy.len);
        value->valid = 1;
        value->no_cacheable = 0;
        value->not_found = 0;
        return NGX_OK;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, request->connection->log, 0, "owt: a variable has no value: %s", error.what());
        return NGX_ERROR;
    }
}

ngx_int_t add_variables(ngx_conf_t* cf) noexcept {
    struct Entry {
        ngx_str_t name;
        Variable variable;
    };
    std::array entries = {
        Entry{ngx_string("owt_code_id"), code_id},           Entry{ngx_string("owt_fn"), function},
        Entry{ngx_string("owt_queue_time"), queue_time},     Entry{ngx_string("owt_run_time"), run_time},
        Entry{ngx_string("owt_cache_status"), cache_status}, Entry{ngx_string("owt_host"), host},
        Entry{ngx_string("owt_trace_id"), trace_id}};
    for (Entry& entry : entries) {
        ngx_http_variable_t* added = ngx_http_add_variable(cf, &entry.name, NGX_HTTP_VAR_NOCACHEABLE);
        if (added == nullptr) {
            return NGX_ERROR;
        }
        added->get_handler = get_variable;
        added->data = entry.variable;
    }
    return NGX_OK;
}

ngx_int_t postconfigure(ngx_conf_t* cf) noexcept {
    return init_instances(cf) == NGX_OK && init_console(cf) == NGX_OK ? init_access(cf) : NGX_ERROR;
}

// --- Processes.

MainConf* main_conf(ngx_cycle_t* cycle) {
    return static_cast<MainConf*>(ngx_http_cycle_get_module_main_conf(cycle, ngx_http_owt_module));
}

ngx_int_t init_module(ngx_cycle_t* cycle) noexcept {
    MainConf* main = main_conf(cycle);
    if (main != nullptr) {
        add_worker_processes(cycle, *main);
        if (open_socket_directories(cycle, *main) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    Scoreboard* board = main != nullptr && core->master ? main->board : nullptr;
    const char* complaint = board != nullptr ? complain_of_numbers(cycle) : nullptr;
    if (complaint != nullptr) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "owt: %s", complaint);
        return NGX_ERROR;
    }
    respawn_always(board);
    return NGX_OK;
}

ngx_int_t init_process(ngx_cycle_t* cycle) noexcept {
    follow_master();
    // The cache manager and the cache loader come here too.
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE) {
        return NGX_OK;
    }
    MainConf* main = main_conf(cycle);
    if (main == nullptr) {
        return NGX_OK;
    }
    const Instance& instance = become_instance(cycle, *main);
    Succession::begin(cycle, *main, instance);
    if (instance.hosts_python && Worker::start(cycle, *main, instance) != NGX_OK) {
        return NGX_ERROR;
    }
    if (Succession* succession = Succession::get()) {
        succession->started();
    }
    return NGX_OK;
}

void exit_process(ngx_cycle_t* cycle) noexcept {
    try {
        Worker::stop();
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "owt: a worker ends in disorder: %s", error.what());
    }
    Succession::end();
}

constexpr ngx_uint_t anywhere = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

std::array commands = {
    ngx_command_t{ngx_string("owt"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_owt, NGX_HTTP_LOC_CONF_OFFSET, 0,
                  nullptr},
    ngx_command_t{ngx_string("owt_file"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE123, set_owt_file, NGX_HTTP_LOC_CONF_OFFSET,
                  0, nullptr},
    ngx_command_t{ngx_string("owt_root"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, set_owt_root, NGX_HTTP_LOC_CONF_OFFSET,
                  0, nullptr},
    ngx_command_t{ngx_string("owt_mcp"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE12, set_owt_mcp,
                  NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_keep"), anywhere | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
                  offsetof(LocationConf, keep), nullptr},
    ngx_command_t{ngx_string("owt_console"), anywhere | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
                  offsetof(LocationConf, console), nullptr},
    ngx_command_t{ngx_string("owt_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1, set_status,
                  NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_guard"), anywhere | NGX_CONF_TAKE1, set_guard, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_auth"), anywhere | NGX_CONF_1MORE, set_auth, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_allow"), anywhere | NGX_CONF_1MORE, set_allow, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_timeout"), anywhere | NGX_CONF_TAKE1, set_timeout, NGX_HTTP_LOC_CONF_OFFSET, 0,
                  nullptr},
    ngx_command_t{ngx_string("owt_stream_buffer"), anywhere | NGX_CONF_TAKE1, ngx_conf_set_size_slot,
                  NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocationConf, stream_buffer), nullptr},
    ngx_command_t{ngx_string("owt_keepalive"), anywhere | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
                  NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocationConf, keepalive), nullptr},
    ngx_command_t{ngx_string("owt_traceback"), anywhere | NGX_CONF_FLAG, ngx_conf_set_flag_slot,
                  NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocationConf, traceback), nullptr},
    ngx_command_t{ngx_string("owt_dir"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_path_slot,
                  NGX_HTTP_MAIN_CONF_OFFSET, offsetof(MainConf, sources), nullptr},
    ngx_command_t{ngx_string("owt_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE2, set_zone, NGX_HTTP_MAIN_CONF_OFFSET, 0,
                  nullptr},
    ngx_command_t{ngx_string("owt_cache"), anywhere | NGX_CONF_TAKE1, set_cache, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_cache_max"), anywhere | NGX_CONF_TAKE1, set_cache_max, NGX_HTTP_LOC_CONF_OFFSET, 0,
                  nullptr},
    ngx_command_t{ngx_string("owt_instance"), NGX_HTTP_MAIN_CONF | NGX_CONF_BLOCK | NGX_CONF_TAKE1, set_instance_block,
                  NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    ngx_command_t{ngx_string("owt_instance"), NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1, set_instance_of_server,
                  NGX_HTTP_SRV_CONF_OFFSET, 0, nullptr},
    ngx_command_t ngx_null_command,
};

ngx_http_module_t context = {
    add_variables,         // preconfiguration
    postconfigure,         //
    create_main_conf,      //
    init_main_conf,        //
    create_server_conf,    //
    nullptr,               // merge server configuration
    create_location_conf,  //
    merge_location_conf,   //
};

}  // namespace

}  // namespace owt

extern "C" {

__attribute__((visibility("default"))) ngx_module_t ngx_http_owt_module = {
    NGX_MODULE_V1,
    &owt::context,
    owt::commands.data(),
    NGX_HTTP_MODULE,
    nullptr,            // init master
    owt::init_module,   //
    owt::init_process,  //
    nullptr,            // init thread
    nullptr,            // exit thread
    owt::exit_process,  //
    nullptr,            // exit master
    NGX_MODULE_V1_PADDING,
};
}
