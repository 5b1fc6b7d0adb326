// Threads of the process that may run Python, but are not Python's own.

#pragma once

#include <pthread.h>

#include <functional>

namespace owt {

// Detached, with a stack in which recursion ends in a RecursionError, not in a crash. thread, if any, is set before
// body runs. False if the system gives none: too little memory, or too many processes (RLIMIT_NPROC, the cgroup's
// pids.max).
[[nodiscard]] bool start_thread(std::function<void()> body, pthread_t* thread = nullptr);

}  // namespace owt
