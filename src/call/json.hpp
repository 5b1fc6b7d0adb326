// Parameters in a JSON body (RFC 8259). Pure: knows neither nginx nor Python.

#pragma once

#include <string_view>

#include "call/params.hpp"

namespace owt {

// On a complaint the contents of params are unspecified.
Complaint read_json(std::string_view body, Params& params);

}  // namespace owt
