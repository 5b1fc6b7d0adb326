// The way of a call into Python.

#pragma once

#include "call/call.hpp"

namespace owt::python {

// Runs a call from its parameters to its answer. Needs the GIL, and lets no exception out. False if it failed in owt's
// own code or in the import system.
bool run(const CallPtr& call);

}  // namespace owt::python
