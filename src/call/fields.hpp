// The arguments of a published function: all fields of the query and of the body, whatever they are called. Nothing of
// it names code, or is read as Python. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call/params.hpp"

namespace owt {

// What params say of the function stays. Of a field in the query and in the body the body's counts. Where place is
// nowhere, the body has none. On a complaint the fields are unspecified.
Complaint read_fields(Place place, std::string_view query, std::string_view body, Params& params);

// The same of a multipart form's text fields, in the order sent.
Complaint read_fields(const std::vector<std::pair<std::string, std::string>>& form, std::string_view query,
                      Params& params);

}  // namespace owt
