// The page of owt_console, put together of files that lie with the package: console/console.html says which. Pure:
// knows no nginx.

#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace owt {

struct ConsolePage {
    std::string text;    // HTML in UTF-8, the same for everybody
    std::string policy;  // the Content-Security-Policy that goes with it
    std::string etag;

    // What goes with it, the type included.
    std::array<std::pair<std::string_view, std::string_view>, 9> headers() const;
};

// package: the directory of the package owt. Throws std::runtime_error: which file cannot be read, or is not what it
// should be.
ConsolePage read_console(const std::string& package);

}  // namespace owt
