// Workers of their own: owt_instance. nginx's master starts, supervises and replaces them beside the ordinary workers,
// because they are counted among worker_processes; the listening sockets are partitioned between the two kinds.

#pragma once

#include "nginx/conf.hpp"
#include "nginx/ngx.hpp"

namespace owt {

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

}  // namespace owt
