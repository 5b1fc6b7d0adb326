#include "guard/shown.hpp"

namespace owt {

namespace {

constexpr std::size_t max_shown = 60;

}  // namespace

std::string printable(std::string_view text) {
    std::string out = "'";
    for (char c : text.substr(0, max_shown)) {
        out += c >= ' ' && c <= '~' ? c : '?';
    }
    out += text.size() > max_shown ? "...'" : "'";
    return out;
}

std::string line(std::string_view directive) {
    return "\n\n    " + std::string(directive) + "\n";
}

}  // namespace owt
