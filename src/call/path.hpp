// A request's path. Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

namespace owt {

// The path for the adaptor: as the client has sent it, decoded once, where uri, which is what nginx has made of the
// request's target, differs from that only by slashes that are put together; else uri.
std::string path_for_adaptor(std::string_view target, std::string_view uri);

}  // namespace owt
