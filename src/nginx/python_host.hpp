// A process becomes one that hosts Python: its instance's library is loaded, and the bridge to it.

#pragma once

#include "call/bridge.hpp"
#include "nginx/interpreter.hpp"

namespace owt {

// A Python that some other module of nginx, or LD_PRELOAD, has brought into the process, and that is not this one: two
// cannot be in one process. Empty if there is none.
std::string foreign_python(const Interpreter& interpreter);

// Once in a process. Throws std::runtime_error.
const Bridge& open_bridge(const Interpreter& interpreter);

// The same in a process that is forked for it, which may die of it: a file that is cut off, or that runs code of its
// own, ends whoever loads it. Throws std::runtime_error.
void try_to_open_bridge(const Interpreter& interpreter);

}  // namespace owt
