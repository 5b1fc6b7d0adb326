// Signals in a process that hosts Python beside nginx: who gets which, in children too; and that nginx's master always
// starts a successor.

#pragma once

#include <cstdint>

namespace owt {

// In the master, for each configuration: a worker that has been ready and ends with status 2, which nginx takes for its
// own word that no other would fare better, is started again: C's _exit() is anybody's. starts: of each worker, how
// often it was started since it was last ready; null where none hosts Python.
void respawn_always(const std::uint32_t* starts);

// On the event loop's thread, before any other starts.
void arrange_signals();

// In a process that an adaptor forked. It is no worker: signals end it.
void become_child();

}  // namespace owt
