// A process that is forked to tell this one something, and may die of what it does for that.

#pragma once

#include <sys/types.h>

#include "call/fd.hpp"

namespace owt {

struct Child {
    pid_t pid = 0;  // 0: this is the child
    Fd pipe{};      // which it writes into, and the other reads
};

// Throws std::system_error.
Child fork_child();

}  // namespace owt
