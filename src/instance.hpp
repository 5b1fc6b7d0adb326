// The directive owt_instance: what it says about a set of worker processes.

#pragma once

#include "ngx.hpp"

namespace owt {

// owt_instance name { ... }
char* instance_block(ngx_conf_t* cf, ngx_command_t* command, void* conf) noexcept;

}  // namespace owt
