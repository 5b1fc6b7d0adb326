// The page of owt_status: asks for state again and again, and shows it. Pure: knows no nginx.

#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace owt {

// HTML in UTF-8, the same for everybody.
const std::string& status_page();

// What goes with the page, the type included.
std::array<std::pair<std::string_view, std::string_view>, 6> status_headers();

}  // namespace owt
