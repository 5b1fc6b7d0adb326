// What an owt_instance block says about its processes.

#pragma once

#include "nginx/conf.hpp"

namespace owt {

// Reads the block of this instance, which begins here.
char* parse_settings(ngx_conf_t* cf, Instance& instance) noexcept;

}  // namespace owt
