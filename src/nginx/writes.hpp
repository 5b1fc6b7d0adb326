// What a process of an instance with `writable` may still write to: the write guard, filled in from nginx's
// configuration.

#pragma once

#include "call/pool.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// Before any thread starts, as it binds the threads that come after. Throws std::system_error.
void guard_writes(ngx_cycle_t* cycle, const Settings& settings);

}  // namespace owt
