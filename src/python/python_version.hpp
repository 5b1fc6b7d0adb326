// Which Python the module embeds, for those who must not include its headers.

#pragma once

#include <string>

namespace owt {

std::string python_version();  // "3.11"

}  // namespace owt
