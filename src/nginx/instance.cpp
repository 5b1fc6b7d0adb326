#include "nginx/instance.hpp"

#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "nginx/module.hpp"
#include "nginx/settings.hpp"

namespace owt {

namespace {

std::string in_quotes(std::string_view text) {
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

// nginx's master looks after 1024, and twice as many as run during a reload.
constexpr std::size_t most_processes = 400;

// --- Which server is whose.

ngx_int_t assign_servers(ngx_conf_t* cf, MainConf& main, const ngx_http_core_main_conf_t& core) {
    auto** servers = begin_of<ngx_http_core_srv_conf_t*>(core.servers);
    for (ngx_uint_t i = 0; i < core.servers.nelts; i++) {
        ServerConf& server = conf_of(servers[i]);
        server.number = begin_of<ngx_http_server_name_t>(servers[i]->server_names)->name.len == 0 ? i + 1 : 0;
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
    std::size_t processes = 0;
    for (const Instance& instance : *main.instances) {
        processes += instance.processes;
        if (processes > most_processes) {
            return fail(cf, "the instances have more than " + std::to_string(most_processes) + " processes together",
                        instance.place);
        }
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
                            "\" is one socket for servers of the instances " +
                            in_quotes(instances[first.instance].name) + " and " +
                            in_quotes(instances[server.instance].name) +
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

template <typename Visit>
ngx_int_t each_address(const ngx_http_core_main_conf_t& core, Visit visit) {
    auto* ports = core.ports != nullptr ? begin_of<ngx_http_conf_port_t>(*core.ports) : nullptr;
    for (ngx_uint_t i = 0; ports != nullptr && i < core.ports->nelts; i++) {
        auto* addresses = begin_of<ngx_http_conf_addr_t>(ports[i].addrs);
        for (ngx_uint_t j = 0; j < ports[i].addrs.nelts; j++) {
            if (visit(ports[i], addresses[j]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }
    return NGX_OK;
}

template <typename Visit>
void each_server(const ngx_http_conf_addr_t& address, Visit visit) {
    auto** servers = begin_of<ngx_http_core_srv_conf_t*>(address.servers);
    for (ngx_uint_t i = 0; i < address.servers.nelts; i++) {
        visit(conf_of(servers[i]));
    }
}

// Servers on one socket wait for Python together.
void share_sockets(const ngx_http_core_main_conf_t& core) {
    // First to the server that a socket is known by, then from there to all.
    each_address(core, [](const auto& port, const auto& address) {
        ServerConf& first = conf_of(*begin_of<ngx_http_core_srv_conf_t*>(bound(port, address).servers));
        each_server(address, [&](ServerConf& server) { first.shares_socket |= server.owt; });
        return NGX_OK;
    });
    each_address(core, [](const auto& port, const auto& address) {
        ServerConf& first = conf_of(*begin_of<ngx_http_core_srv_conf_t*>(bound(port, address).servers));
        each_server(address, [&](ServerConf& server) { server.shares_socket |= first.shares_socket; });
        return NGX_OK;
    });
}

// --- Unix sockets. A process that was killed leaves its own behind, and nginx would not start again.

bool is_abandoned(const ngx_http_listen_opt_t& listen) {
    Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    return probe && ::connect(probe.get(), listen.sockaddr, listen.socklen) != 0 && errno == ECONNREFUSED;
}

constexpr int sockets_tag = 0;  // told from others by its address

bool is_path_of_nginx(ngx_conf_t* cf, std::string_view directory) {
    auto** paths = begin_of<ngx_path_t*>(cf->cycle->paths);
    return std::any_of(paths, paths + cf->cycle->paths.nelts,
                       [&](const ngx_path_t* path) { return to_view(path->name) == directory; });
}

// The directory is made by nginx as its others are, for its user alone.
ngx_int_t prepare_socket(ngx_conf_t* cf, const ngx_http_listen_opt_t& listen) {
    std::string file = reinterpret_cast<const sockaddr_un*>(listen.sockaddr)->sun_path;
    if (ngx_is_init_cycle(cf->cycle->old_cycle) && !ngx_test_config && is_abandoned(listen)) {
        ngx_log_error(NGX_LOG_NOTICE, cf->log, 0, "owt: removing %s, at which nobody listens any more", file.c_str());
        ::unlink(file.c_str());
    }
    std::string directory = std::filesystem::path(file).parent_path();
    std::error_code error;
    if (directory.empty() || is_path_of_nginx(cf, directory) || std::filesystem::exists(directory, error)) {
        return NGX_OK;
    }
    auto* path = static_cast<ngx_path_t*>(ngx_pcalloc(cf->pool, sizeof(ngx_path_t)));
    if (path == nullptr) {
        return NGX_ERROR;
    }
    path->name = to_ngx_str(cf->pool, directory);
    path->data = const_cast<int*>(&sockets_tag);
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;
    return path->name.data != nullptr ? ngx_add_path(cf, &path) : NGX_ERROR;
}

ngx_int_t check_sockets(ngx_conf_t* cf, const MainConf& main, const ngx_http_core_main_conf_t& core) {
    share_sockets(core);
    return each_address(core, [&](const auto& port, const auto& address) {
        ngx_int_t result = check_address(cf, *main.instances, port, address);
        bool own = conf_of(*begin_of<ngx_http_core_srv_conf_t*>(address.servers)).instance != 0;
        return result == NGX_OK && own && address.opt.sockaddr->sa_family == AF_UNIX ? prepare_socket(cf, address.opt)
                                                                                     : result;
    });
}

// A server that a socket serves; null if it is not HTTP's.
const ServerConf* server_of(const ngx_listening_t& listening) {
    if (listening.handler != ngx_http_init_connection) {
        return nullptr;
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
    return &conf_of(server);
}

// What is not HTTP is the ordinary workers'.
std::size_t instance_of(const ngx_listening_t& listening) {
    const ServerConf* server = server_of(listening);
    return server != nullptr ? server->instance : 0;
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

// Numbers that the workers inherit, zero at first. Null if memory is short.
std::uint32_t* make_shared(ngx_cycle_t* cycle, std::size_t count) {
    auto* memory = make_in_pool<ngx_shm_t>(cycle->pool);
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
    if (memory == nullptr || cleanup == nullptr) {
        return nullptr;
    }
    memory->size = count * sizeof(std::uint32_t);
    memory->log = cycle->log;
    ngx_str_set(&memory->name, "owt");
    if (ngx_shm_alloc(memory) != NGX_OK) {
        return nullptr;
    }
    cleanup->data = memory;
    cleanup->handler = [](void* data) { ngx_shm_free(static_cast<ngx_shm_t*>(data)); };
    return reinterpret_cast<std::uint32_t*>(memory->addr);
}

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
                                in_quotes(name));
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

void add_worker_processes(ngx_cycle_t* cycle, MainConf& main) {
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    main.ordinary_workers = static_cast<std::size_t>(core->worker_processes);
    for (std::size_t i = 1; i < main.instances->size(); i++) {
        core->worker_processes += static_cast<ngx_int_t>((*main.instances)[i].processes);
    }
    if (std::ranges::any_of(*main.instances, &Instance::hosts_python)) {
        main.starts = make_shared(cycle, static_cast<std::size_t>(std::max<ngx_int_t>(core->worker_processes, 1)));
    }
}

const Instance& become_instance(ngx_cycle_t* cycle, MainConf& main) {
    std::vector<Instance>& instances = *main.instances;
    if (instances.size() == 1) {
        return instances[0];
    }
    if (ngx_process == NGX_PROCESS_SINGLE) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "owt: with \"master_process off\" one process serves all, with the settings of "
                      "\"owt_instance default\"");
        instances[0].hosts_python = std::ranges::any_of(instances, &Instance::hosts_python);
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

bool leads_to_python(const ngx_listening_t& listening) {
    const ServerConf* server = server_of(listening);
    return server != nullptr && (server->shares_socket || server->instance != 0);
}

bool is_for_sockets(const ngx_path_t& path) {
    return path.data == &sockets_tag;
}

}  // namespace owt
