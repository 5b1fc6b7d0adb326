// Signals and children in a process that hosts Python beside nginx: who gets which signal, and what a process that an
// adaptor forks may keep.

#pragma once

namespace owt {

// On the event loop's thread, before any other starts.
void arrange_signals();

// In a process that an adaptor forked. It is no worker: signals end it, and it holds no client or port.
void become_child();

}  // namespace owt
