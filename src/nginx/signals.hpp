// Signals and children in a process that hosts Python beside nginx: who gets which signal, and what a process that an
// adaptor forks may keep.

#pragma once

#include <sys/types.h>

namespace owt {

// On the event loop's thread, before any other starts. quit is called in the handler of SIGQUIT, when nginx knows.
void arrange_signals(void (*quit)(pid_t sender));

// In a process that an adaptor forked. It is no worker: signals end it, and it holds no client or port.
void become_child();

}  // namespace owt
