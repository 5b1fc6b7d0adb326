// Threads of the process that may run Python, but are not Python's own.

#pragma once

#include <pthread.h>

#include <functional>

namespace owt {

// Detached, with a stack in which recursion ends in a RecursionError, not in a crash. Throws std::runtime_error.
// The thread's id, in whose place body may look for it, is set before body runs.
void start_thread(std::function<void()> body, pthread_t* thread = nullptr);

}  // namespace owt
