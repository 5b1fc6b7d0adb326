#include "call/trace.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace owt {

namespace {

bool is_hex(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view digits) {
    return digits.find_first_not_of('0') == std::string_view::npos;
}

}  // namespace

std::string_view trace_id_in(std::string_view traceparent) {
    constexpr std::size_t size = 55;  // of version 00; later ones may add something behind another '-'
    constexpr std::array<std::size_t, 5> sizes = {2, 32, 16, 2, 0};
    if (traceparent.size() < size) {
        return {};
    }
    std::array<std::string_view, 4> parts;
    std::size_t at = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        parts[i] = traceparent.substr(at, sizes[i]);
        at += sizes[i];
        if (!is_hex(parts[i]) || (at < traceparent.size() && traceparent[at] != '-')) {
            return {};
        }
        ++at;
    }
    bool longer = traceparent.size() > size;
    if (parts[0] == "ff" || (parts[0] == "00" && longer) || is_zero(parts[1]) || is_zero(parts[2])) {
        return {};
    }
    return parts[1];
}

std::string_view trace_id_of(std::string_view environ) {
    constexpr std::string_view wanted = "HTTP_TRACEPARENT";
    std::string_view found;
    while (!environ.empty()) {
        std::string_view name = environ.substr(0, environ.find('\0'));
        environ.remove_prefix(name.size() + 1);
        std::string_view value = environ.substr(0, environ.find('\0'));
        environ.remove_prefix(value.size() + 1);
        if (name == wanted) {
            if (!found.empty()) {
                return {};  // two are none
            }
            found = trace_id_in(value);
        }
    }
    return found;
}

std::string trace_note(std::string_view environ) {
    std::string_view id = trace_id_of(environ);
    return id.empty() ? std::string() : ", trace: " + std::string(id);
}

}  // namespace owt
