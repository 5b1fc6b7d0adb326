// What nginx's event loop has to look out for where Python shares its process: each socket is close-on-exec from its
// first moment, none has a number below 3, and a loop whose descriptors have been taken away ends instead of spinning.

#pragma once

#include "nginx/descriptors.hpp"
#include "nginx/ngx.hpp"

namespace owt {

// In a worker, on the event loop; descriptors stay for ever.
void watch_loop(ngx_cycle_t* cycle, Descriptors& descriptors);

// What can be seen from outside of the loop's own course; every now and then. False if the process is about to end.
bool check_descriptors();

}  // namespace owt
