// Whether a request comes from this machine: from whom the connection is, and for whom it was passed on. Pure: knows
// neither nginx nor Python.

#pragma once

#include <optional>

#include "call/problem.hpp"
#include "guard/rules.hpp"
#include "guard/visit.hpp"

namespace owt {

// What is to be said to a client elsewhere.
std::optional<Problem> about_client(const Visit& visit, const Rules& rules);

}  // namespace owt
