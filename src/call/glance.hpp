// The code that the beginning of a large body names, for who needs to know no more of it and has no time to read it
// all. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

#include "call/params.hpp"

namespace owt {

// The SHA-256 of the first code that is there as a whole: a JSON object's own member, or a pair. Empty if there is
// none, or if it is no code. What comes behind it is not looked at.
std::string glance_code_id(Place place, std::string_view beginning);

}  // namespace owt
