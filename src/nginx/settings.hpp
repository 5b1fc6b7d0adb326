// What an owt_instance block says about its processes.

#pragma once

#include <cstddef>

#include "call/pool.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// Reads the block that begins here. processes is null if the block may not say how many there are.
char* parse_settings(ngx_conf_t* cf, Settings& settings, std::size_t* processes, std::size_t& spare) noexcept;

}  // namespace owt
