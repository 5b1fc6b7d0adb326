// Whose listening socket is which: an instance's sockets are served by its workers alone. And what unix sockets need:
// a directory, and that a killed nginx's leftovers are out of the way.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// When all servers have their instance: complains of an address that two share, readies unix sockets, for the group.
ngx_int_t check_sockets(ngx_conf_t* cf, MainConf& main, gid_t group, const ngx_http_core_main_conf_t& core);
// When it is known whose processes are: lets them reach the unix sockets.
ngx_int_t open_socket_directories(ngx_cycle_t* cycle, const MainConf& main);

// The index of the instance whose it is; what is not HTTP is the ordinary workers'.
std::size_t instance_of(const ngx_listening_t& listening);
// In a worker that is not to accept there: it cannot so much as shut the socket down. The number stays taken, by
// /dev/null, as nginx closes it with the others.
void drop(ngx_listening_t& listening);
// The same with sockets that nginx itself has made for each of the other workers: reuseport.
void drop_clones(ngx_cycle_t* cycle);

// From now on watch gets every socket's connections first, and whose they are is known by handler_of().
void watch_connections(ngx_cycle_t& cycle, ngx_connection_handler_pt watch);
ngx_connection_handler_pt handler_of(const ngx_listening_t& listening) noexcept;

// Whether a socket is of a server with owt, so that it waits for Python.
bool leads_to_python(const ngx_listening_t& listening);

}  // namespace owt
