// Workers of their own: owt_instance. nginx's master starts, supervises and replaces them beside the ordinary workers,
// because they are counted among worker_processes; the listening sockets are partitioned between the two kinds.

#pragma once

#include <string>
#include <vector>

#include "nginx/ngx.hpp"
#include "python/pool.hpp"

namespace owt {

struct Instance {
    std::string name;
    std::string place;          // of its block: file:line
    std::size_t processes = 1;  // but for the ordinary workers
    Settings settings;
    bool served = false;        // some server is its
    bool hosts_python = false;  // some location of the ordinary workers' has owt; the others' always
};

struct MainConf;

// owt_instance name { ... }
char* set_instance_block(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// owt_instance name;
char* set_instance_of_server(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;
// When all servers are known.
ngx_int_t init_instances(ngx_conf_t* cf) noexcept;

// In the master, before it forks: makes room for the workers of the instances, which other modules take for nginx's
// own.
void add_worker_processes(ngx_cycle_t* cycle, MainConf& main);
// In a worker: which it is. From now on it listens on that instance's sockets alone.
const Instance& become_instance(ngx_cycle_t* cycle, MainConf& main);
// Whether a socket is of a server with owt, so that it waits for Python.
bool leads_to_python(const ngx_listening_t& listening);
// A directory that nginx makes for unix sockets of instances. Nothing that runs in a worker has to write there.
bool is_for_sockets(const ngx_path_t& path);

}  // namespace owt
