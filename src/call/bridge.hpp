// What a bridge, the part of owt that is made for one Python, offers to the module, which knows none: one structure, by
// one name. Both are made of the headers of this folder, and have to be made of the same: the stamp tells. Pure: knows
// neither nginx nor Python.

#pragma once

#include "call/pool.hpp"

// Of the release and of these headers; src/stamp makes it.
#ifdef OWT_STAMP
#define OWT_MARK "owt bridge " OWT_STAMP
#endif

namespace owt {

struct Bridge {
    const char* mark;  // compared before anything else is used
    // Starts Python on a thread of its own and returns at once. Once in a process.
    Pool& (*start_pool)(const Settings& settings, Doorbell& doorbell);
};

}  // namespace owt

// What it is called in the shared object.
extern "C" __attribute__((visibility("default"))) const owt::Bridge owt_bridge;
