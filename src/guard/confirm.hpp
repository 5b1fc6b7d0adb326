// The page that a followed link gets instead of an answer: what it would run, and the button that runs it.
// Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "call/params.hpp"

namespace owt {

struct Confirmation {
    const Params& params;     // of the query; with code_id, code is the kept source if there is one
    std::string_view path;    // decoded, for the eye
    std::string_view query;   // undecoded, without '?'
    std::string_view target;  // path and query as they were sent: what the button asks for
};

// HTML in UTF-8. Without scripts it can be read, not run.
std::string confirm_page(const Confirmation& asked);

// What goes with the page, the type included.
std::array<std::pair<std::string_view, std::string_view>, 9> confirm_headers();

// A path-absolute reference that stays on this server whatever target holds, safe in an attribute.
std::string same_origin_reference(std::string_view target);

}  // namespace owt
