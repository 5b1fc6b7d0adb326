#include "call/text.hpp"

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace owt {

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), to_lower);
    return out;
}

bool is_utf8(std::string_view bytes) {
    return simdjson::validate_utf8(bytes.data(), bytes.size());
}

std::string shown(std::string_view text) {
    constexpr size_t limit = 60;
    std::string_view part = text.substr(0, limit);
    if (part.size() < text.size()) {
        while (!part.empty() && (text[part.size()] & 0xC0) == 0x80) {
            part.remove_suffix(1);
        }
    }
    bool utf8 = is_utf8(part);
    std::string out = "'";
    for (unsigned char c : part) {
        out += c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8) ? '?' : char(c);
    }
    out += part.size() < text.size() ? "...'" : "'";
    return out;
}

}  // namespace owt
