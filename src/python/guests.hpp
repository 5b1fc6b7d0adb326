// Adaptors are guests in a process that is not theirs alone. The functions of Python by which one of them would close
// what is nginx's or end or replace the process are guarded where they are implemented, in C, so that nobody has got
// hold of an unguarded one: os.close is posix.close, and every open() makes an io.FileIO. In children of the process
// they are as ever.

#pragma once

#include "call/pool.hpp"

namespace owt::python {

// When the interpreter has just started. With the GIL. Throws pybind11::error_already_set.
void guard_process(const Settings& settings);

}  // namespace owt::python
