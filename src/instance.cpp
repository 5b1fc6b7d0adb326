#include "instance.hpp"

#include <sched.h>

#include <algorithm>

#include "module.hpp"
#include "settings.hpp"

namespace owt {

namespace {

std::string place_of(ngx_conf_t* cf) {
    return std::string(to_view(cf->conf_file->file.name)) + ":" + std::to_string(cf->conf_file->line);
}

std::string quoted(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

bool is_name(std::string_view text) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return !text.empty() && text.size() <= 32 && text.find_first_not_of(allowed) == std::string_view::npos;
}

char* fail(ngx_conf_t* cf, const std::string& why) {
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", why.c_str());
    return static_cast<char*>(NGX_CONF_ERROR);
}

ngx_int_t fail(ngx_conf_t* cf, const std::string& why, const std::string& place) {
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s in %s", why.c_str(), place.c_str());
    return NGX_ERROR;
}

ServerConf& conf_of(const ngx_http_core_srv_conf_t* server) {
    return *static_cast<ServerConf*>(server->ctx->srv_conf[ngx_http_owt_module.ctx_index]);
}

template <typename T>
T* begin_of(const ngx_array_t& array) {
    return static_cast<T*>(array.elts);
}

// --- Which server is whose.

ngx_int_t assign_servers(ngx_conf_t* cf, MainConf& main, const ngx_http_core_main_conf_t& core) {
    auto** servers = begin_of<ngx_http_core_srv_conf_t*>(core.servers);
    for (ngx_uint_t i = 0; i < core.servers.nelts; i++) {
        ServerConf& server = conf_of(servers[i]);
        std::string_view name = server.instance_name.len > 0 ? to_view(server.instance_name) : "default";
        auto instance = std::ranges::find(*main.instances, name, &Instance::name);
        if (instance == main.instances->end()) {
            return fail(cf,
                        "\"owt_instance " + std::string(name) + "\": no such instance, add \"owt_instance " +
                            std::string(name) + " { }\" to the http block",
                        *server.place);
        }
        server.instance = static_cast<std::size_t>(instance - main.instances->begin());
        instance->served = true;
        instance->hosts_python |= server.owt || server.instance != 0;
    }
    for (const Instance& instance : *main.instances) {
        if (!instance.served && instance.name != "default") {
            return fail(cf,
                        "\"owt_instance " + instance.name + " { }\" serves nothing, add \"owt_instance " +
                            instance.name + ";\" to a server",
                        instance.place);
        }
    }
    return NGX_OK;
}

// --- Whose socket is which.

// The address whose socket serves another: as ngx_http_init_listening() does it, one that is not bound by itself is
// left to the wildcard of its port.
const ngx_http_conf_addr_t& bound(const ngx_http_conf_port_t& port, const ngx_http_conf_addr_t& address) {
    auto* addresses = begin_of<ngx_http_conf_addr_t>(port.addrs);
    auto* end = addresses + port.addrs.nelts;
    auto* wildcard = std::find_if(addresses, end, [](const auto& other) { return other.opt.wildcard; });
    return wildcard != end && !address.opt.bind ? *wildcard : address;
}

ngx_int_t check_address(ngx_conf_t* cf, const std::vector<Instance>& instances, const ngx_http_conf_port_t& port,
                        const ngx_http_conf_addr_t& address) {
    const ngx_http_conf_addr_t& socket = bound(port, address);
    const ServerConf& first = conf_of(*begin_of<ngx_http_core_srv_conf_t*>(socket.servers));
    auto** servers = begin_of<ngx_http_core_srv_conf_t*>(address.servers);
    for (ngx_uint_t i = 0; i < address.servers.nelts; i++) {
        const ServerConf& server = conf_of(servers[i]);
        const std::string& place = server.instance != 0 ? *server.place : *first.place;
        if (server.instance != first.instance) {
            return fail(cf,
                        "\"listen " + std::string(to_view(socket.opt.addr_text)) +
                            "\" is one socket for servers of the instances " + quoted(instances[first.instance].name) +
                            " and " + quoted(instances[server.instance].name) +
                            ", give each instance an address or port of its own",
                        place);
        }
        if (server.instance != 0 && address.opt.reuseport) {
            return fail(cf,
                        "\"reuseport\" of \"listen " + std::string(to_view(address.opt.addr_text)) +
                            "\" is not for servers of an owt_instance, whose workers would get no such socket: "
                            "leave it out",
                        place);
        }
    }
    return NGX_OK;
}

ngx_int_t check_sockets(ngx_conf_t* cf, const MainConf& main, const ngx_http_core_main_conf_t& core) {
    auto* ports = core.ports != nullptr ? begin_of<ngx_http_conf_port_t>(*core.ports) : nullptr;
    for (ngx_uint_t i = 0; ports != nullptr && i < core.ports->nelts; i++) {
        auto* addresses = begin_of<ngx_http_conf_addr_t>(ports[i].addrs);
        for (ngx_uint_t j = 0; j < ports[i].addrs.nelts; j++) {
            if (check_address(cf, *main.instances, ports[i], addresses[j]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }
    return NGX_OK;
}

// The index of the instance whose servers a socket serves; what is not HTTP is the ordinary workers'.
std::size_t instance_of(const ngx_listening_t& listening) {
    if (listening.handler != ngx_http_init_connection) {
        return 0;
    }
    auto* port = static_cast<ngx_http_port_t*>(listening.servers);
    const ngx_http_core_srv_conf_t* server = nullptr;
#if (NGX_HAVE_INET6)
    if (listening.sockaddr->sa_family == AF_INET6) {
        server = static_cast<ngx_http_in6_addr_t*>(port->addrs)->conf.default_server;
    } else
#endif
    {
        server = static_cast<ngx_http_in_addr_t*>(port->addrs)->conf.default_server;
    }
    return conf_of(server).instance;
}

// The socket itself stays open: nginx closes it with the others.
void drop(ngx_listening_t& listening) {
    ngx_connection_t* connection = listening.connection;
    if (connection == nullptr) {
        return;
    }
    if (connection->read->active) {
        ngx_del_event(connection->read, NGX_READ_EVENT, 0);
    }
    ngx_free_connection(connection);
    connection->fd = static_cast<ngx_socket_t>(-1);
    listening.connection = nullptr;
}

// Memory that the workers inherit, zero at first.
struct Shared {
    Shared(std::size_t size, ngx_log_t* log) {
        memory.size = size;
        memory.log = log;
        ngx_str_set(&memory.name, "owt");
        ngx_shm_alloc(&memory);
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() {
        if (memory.addr != nullptr) {
            ngx_shm_free(&memory);
        }
    }

    ngx_shm_t memory{};
};

// worker_cpu_affinity is written for the ordinary workers, with one thread each.
void run_on_any_cpu(ngx_cycle_t* cycle) {
    cpu_set_t cpus;
    if (::sched_getaffinity(ngx_parent, sizeof(cpus), &cpus) != 0 || ::sched_setaffinity(0, sizeof(cpus), &cpus) != 0) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno, "owt: sched_setaffinity() failed");
    }
}

}  // namespace

char* set_instance_block(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& instances = *static_cast<MainConf*>(conf)->instances;
    try {
        std::string name(to_view(begin_of<ngx_str_t>(*cf->args)[1]));
        if (!is_name(name)) {
            return fail(cf, "\"owt_instance\": a name has letters, digits, \"_\", \"-\" and \".\", at most 32: " +
                                quoted(name));
        }
        auto instance = std::ranges::find(instances, name, &Instance::name);
        if (instance == instances.end()) {
            instance = instances.emplace(instance);
            instance->name = name;
        } else if (!instance->place.empty()) {
            return fail(cf, "\"owt_instance " + name + "\" is duplicate, the first is in " + instance->place);
        }
        instance->place = place_of(cf);
        return parse_settings(cf, instance->settings, name == "default" ? nullptr : &instance->processes);
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
}

char* set_instance_of_server(ngx_conf_t* cf, ngx_command_t*, void* conf) noexcept {
    auto& server = *static_cast<ServerConf*>(conf);
    if (server.instance_name.len > 0) {
        return const_cast<char*>("is duplicate");
    }
    server.instance_name = begin_of<ngx_str_t>(*cf->args)[1];
    try {
        *server.place = place_of(cf);
    } catch (const std::exception& error) {
        return fail(cf, error.what());
    }
    return server.instance_name.len > 0 ? NGX_CONF_OK : const_cast<char*>("wants a name");
}

ngx_int_t init_instances(ngx_conf_t* cf) noexcept {
    auto& main = *static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_owt_module));
    auto& core = *static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    try {
        ngx_int_t result = assign_servers(cf, main, core);
        return result == NGX_OK ? check_sockets(cf, main, core) : result;
    } catch (const std::exception& error) {
        fail(cf, error.what());
        return NGX_ERROR;
    }
}

ngx_int_t add_worker_processes(ngx_cycle_t* cycle, MainConf& main) {
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    main.ordinary_workers = static_cast<std::size_t>(core->worker_processes);
    for (std::size_t i = 1; i < main.instances->size(); i++) {
        core->worker_processes += static_cast<ngx_int_t>((*main.instances)[i].processes);
    }
    auto* shared = make_in_pool<Shared>(
        cycle->pool, sizeof(*main.starts) * static_cast<std::size_t>(core->worker_processes), cycle->log);
    if (shared == nullptr || shared->memory.addr == nullptr) {
        return NGX_ERROR;
    }
    main.starts = reinterpret_cast<std::atomic<std::uint32_t>*>(shared->memory.addr);
    return NGX_OK;
}

Instance& become_instance(ngx_cycle_t* cycle, MainConf& main) {
    std::vector<Instance>& instances = *main.instances;
    if (instances.size() == 1) {
        return instances[0];
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "owt: with \"master_process off\" one process serves all, with the settings of "
                      "\"owt_instance default\"");
        return instances[0];
    }
    std::size_t own = 0;
    std::size_t end = main.ordinary_workers;
    while (ngx_worker >= end && own + 1 < instances.size()) {
        end += instances[++own].processes;
    }
    auto* listening = begin_of<ngx_listening_t>(cycle->listening);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        if (instance_of(listening[i]) != own) {
            drop(listening[i]);
        }
    }
    if (own != 0) {
        run_on_any_cpu(cycle);
        // Whoever holds the mutex sleeps with it, and an ordinary worker would not wake up for these sockets.
        ngx_use_accept_mutex = 0;
    }
    return instances[own];
}

}  // namespace owt
