#include "nginx/sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <unordered_map>
#include <utility>

namespace owt {

namespace {

std::string in_quotes(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

ServerConf& conf_of(const ngx_http_core_srv_conf_t* server) {
    return *server_conf(server);
}

// The address whose socket serves another: as ngx_http_init_listening() does it, one that is not bound by itself is
// left to the wildcard of its port.
const ngx_http_conf_addr_t& bound(const ngx_http_conf_port_t& port, const ngx_http_conf_addr_t& address) {
    auto* addresses = begin_of<ngx_http_conf_addr_t>(port.addrs);
    auto* end = addresses + port.addrs.nelts;
    auto* wildcard = std::find_if(addresses, end, [](const auto& other) { return other.opt.wildcard; });
    return wildcard != end && !address.opt.bind ? *wildcard : address;
}

// Older ones do not know it.
template <typename Options>
bool speaks_quic(const Options& options) {
    if constexpr (requires { options.quic; }) {
        return options.quic;
    } else {
        return false;
    }
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
        if (server.instance == 0 && server.shares_socket && instances[0].spare > 0 && address.opt.reuseport) {
            return fail(cf,
                        "\"reuseport\" of \"listen " + std::string(to_view(address.opt.addr_text)) +
                            "\" gives each worker a socket of its own, and no \"spare\" of \"owt_instance default\" "
                            "could step in there: leave out one of the two",
                        instances[0].place);
        }
        if (server.instance != 0 && address.opt.reuseport) {
            return fail(cf,
                        "\"reuseport\" of \"listen " + std::string(to_view(address.opt.addr_text)) +
                            "\" is not for servers of an owt_instance, whose workers would get no such socket: "
                            "leave it out",
                        place);
        }
        std::size_t processes = instances[server.instance].processes;
        if (server.instance != 0 && speaks_quic(address.opt) && processes > 1) {
            return fail(cf,
                        "\"quic\" of \"listen " + std::string(to_view(address.opt.addr_text)) +
                            "\" is not for servers of an owt_instance with " + std::to_string(processes) +
                            " processes, which would take each other's packets: let ordinary workers listen here, and "
                            "pass on to the instance, or give it one process",
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

bool is_path_of_nginx(ngx_conf_t* cf, std::string_view directory) {
    auto** paths = begin_of<ngx_path_t*>(cf->cycle->paths);
    return std::any_of(paths, paths + cf->cycle->paths.nelts,
                       [&](const ngx_path_t* path) { return to_view(path->name) == directory; });
}

// Root binds a socket and then changes the mode of what has its name, through links too. So nobody else may put
// anything there: its directory is root's, and the group of nginx's user finds the way through.
ngx_int_t let_through(const std::string& directory, gid_t group, ngx_log_t* log) {
    if (::geteuid() != 0 || (::chown(directory.c_str(), static_cast<uid_t>(-1), group) == 0 &&
                             ::chmod(directory.c_str(), S_IRWXU | S_IXGRP) == 0)) {
        return NGX_OK;
    }
    ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "owt: \"%s\" cannot be given to nginx's group", directory.c_str());
    return NGX_ERROR;
}

ngx_int_t prepare_socket(ngx_conf_t* cf, MainConf& main, gid_t group, const ngx_http_listen_opt_t& listen) {
    std::string file = reinterpret_cast<const sockaddr_un*>(listen.sockaddr)->sun_path;
    if (ngx_is_init_cycle(cf->cycle->old_cycle) && !ngx_test_config && is_abandoned(listen)) {
        ngx_log_error(NGX_LOG_NOTICE, cf->log, 0, "owt: removing %s, at which nobody listens any more", file.c_str());
        ::unlink(file.c_str());
    }
    std::string directory = std::filesystem::path(file).parent_path();
    if (ngx_process == NGX_PROCESS_SIGNALLER || directory.empty() || is_path_of_nginx(cf, directory)) {
        return NGX_OK;
    }
    if (::mkdir(directory.c_str(), S_IRWXU) == 0) {
        main.socket_directories->push_back(directory);
        return let_through(directory, group, cf->log);
    }
    if (errno != EEXIST) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "mkdir() \"%s\" for a unix socket failed", directory.c_str());
        return NGX_ERROR;
    }
    return NGX_OK;
}

std::unordered_map<const ngx_listening_t*, ngx_connection_handler_pt>& watched() {
    static auto& watched =
        *std::make_unique<std::unordered_map<const ngx_listening_t*, ngx_connection_handler_pt>>().release();
    return watched;
}

// A server that a socket serves; null if it is not HTTP's.
const ServerConf* server_of(const ngx_listening_t& listening) {
    if (handler_of(listening) != ngx_http_init_connection) {
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

}  // namespace

ngx_int_t check_sockets(ngx_conf_t* cf, MainConf& main, gid_t group, const ngx_http_core_main_conf_t& core) {
    share_sockets(core);
    return each_address(core, [&](const auto& port, const auto& address) {
        ngx_int_t result = check_address(cf, *main.instances, port, address);
        bool own = conf_of(*begin_of<ngx_http_core_srv_conf_t*>(address.servers)).instance != 0;
        return result == NGX_OK && own && address.opt.sockaddr->sa_family == AF_UNIX
                   ? prepare_socket(cf, main, group, address.opt)
                   : result;
    });
}

// The line "user" may have come after all others.
ngx_int_t open_socket_directories(ngx_cycle_t* cycle, const MainConf& main) {
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    for (const std::string& directory : *main.socket_directories) {
        if (let_through(directory, core->group, cycle->log) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    return NGX_OK;
}

// What is not HTTP is the ordinary workers'.
std::size_t instance_of(const ngx_listening_t& listening) {
    const ServerConf* server = server_of(listening);
    return server != nullptr ? server->instance : 0;
}

void drop(ngx_listening_t& listening) {
    if (ngx_connection_t* connection = std::exchange(listening.connection, nullptr)) {
        if (connection->read->active) {
            ngx_del_event(connection->read, NGX_READ_EVENT, 0);
        }
        ngx_free_connection(connection);
        connection->fd = static_cast<ngx_socket_t>(-1);
    }
    Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!nothing || ::dup3(nothing.get(), listening.fd, O_CLOEXEC) < 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno, "owt: the socket %V of other processes stays open here",
                      &listening.addr_text);
    }
}

void drop_clones(ngx_cycle_t* cycle) {
    auto* listening = begin_of<ngx_listening_t>(cycle->listening);
    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        if (listening[i].connection == nullptr) {
            drop(listening[i]);
        }
    }
}

void watch_connections(ngx_cycle_t& cycle, ngx_connection_handler_pt watch) {
    auto* listening = begin_of<ngx_listening_t>(cycle.listening);
    for (ngx_uint_t i = 0; i < cycle.listening.nelts; i++) {
        watched()[&listening[i]] = std::exchange(listening[i].handler, watch);
    }
}

ngx_connection_handler_pt handler_of(const ngx_listening_t& listening) noexcept {
    auto found = watched().find(&listening);
    return found != watched().end() ? found->second : listening.handler;
}

bool leads_to_python(const ngx_listening_t& listening) {
    const ServerConf* server = server_of(listening);
    return server != nullptr && (server->shares_socket || server->instance != 0);
}

}  // namespace owt
