// nginx's channels: the pairs of sockets by which its master tells workers what to do, and whose ends nginx hands to
// all of them. Here what has come is looked at before nginx acts on it, and workers wake each other.

#pragma once

#include "nginx/ngx.hpp"

namespace owt {

// In init_process. From the first turn of the event loop on heard() is called whenever the master or another process
// has written; what the master wants nginx has put into ngx_quit and its like by then.
void listen_to_channel(ngx_cycle_t* cycle, void (*heard)());

// Calls heard() in all other processes of this master, or in the one in this place with it.
void wake_others();
void wake(std::size_t place);

}  // namespace owt
