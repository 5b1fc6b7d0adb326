// What the guard says of a request, and what that adds to the answer's head. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call/problem.hpp"

namespace owt {

struct Verdict {
    enum class Kind {
        pass,
        refuse,     // with problem; 405 where an OPTIONS is no preflight that may be answered
        confirm,    // the page of confirm.hpp
        preflight,  // 204 with guard_headers(); before any authentication, since browsers send none along
    };

    Kind kind = Kind::pass;
    Problem problem;
    std::string allow_origin;       // the origin, if it is allow-listed, or *
    std::string allow_headers;      // of a preflight
    bool varies_by_origin = false;  // Vary: Origin, whoever asks
};

Verdict refuse(Problem problem);

// Headers for the answer to a request on which this was the verdict. Vary adds to what the adaptor sets; of the others
// each stands back where the adaptor sets it.
std::vector<std::pair<std::string_view, std::string_view>> guard_headers(const Verdict& verdict);

}  // namespace owt
