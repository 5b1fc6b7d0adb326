// Signals in a process that hosts Python beside nginx: who gets which, in children too; and that nginx's master always
// starts a successor.

#pragma once

#include <sys/types.h>

#include "nginx/scoreboard.hpp"

namespace owt {

// In the master, for each configuration: a worker that has been ready and ends with status 2, which nginx takes for its
// own word that no other would fare better, is started again: C's _exit() is anybody's. Null where none hosts Python.
void respawn_always(Scoreboard* board);

// On the event loop's thread, before any other starts. quit is called in the handler of SIGQUIT, when nginx knows.
void arrange_signals(void (*quit)(pid_t sender));

// In a process that an adaptor forked. It is no worker: signals end it.
void become_child();

}  // namespace owt
